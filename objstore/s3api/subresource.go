package s3api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// This file has subresources of buckets that are kept and told as S3 does and
// change nothing in what coffer does: nobody pays for requests, there is nothing
// to accelerate, no server access logs are written, nothing is replicated.

// getConfigOr answers with a configuration document, or with an empty one.
func getConfigOr(name objstore.ConfigName, root string) func(*request) error {
	return func(q *request) error {
		doc, err := q.s.store.BucketConfig(q.ctx, q.caller, q.bucket, name)
		if objstore.IsKind(err, objstore.KindNoSuchConfig) {
			doc, err = (&node{name: root}).document().b, nil
		}
		if err != nil {
			return err
		}
		return q.sendXML(http.StatusOK, &xmlWriter{doc})
	}
}

// putShape sets a configuration document of a shape that check finds right.
func putShape(name objstore.ConfigName, s shape, check func(*request, *node) error) func(*request) error {
	return func(q *request) error {
		if err := q.bucketExists(); err != nil {
			return err
		}
		n, err := q.readShape(&s, maxConfigBytes)
		if err != nil {
			return err
		}
		if err := check(q, n); err != nil {
			return err
		}
		if len(n.kids) == 0 {
			err = q.dropConfig(name) // as it was before
		} else {
			err = q.setConfig(name, n.document())
		}
		if err != nil {
			return err
		}
		return q.send(http.StatusOK)
	}
}

func nothingMore(*request, *node) error { return nil }

var requestPaymentShape = within("RequestPaymentConfiguration", 1, 1, one("Payer", oneOf("BucketOwner", "Requester")))

func (q *request) getRequestPayment() error {
	doc, err := q.s.store.BucketConfig(q.ctx, q.caller, q.bucket, objstore.ConfigRequestPayment)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		n := &node{name: requestPaymentShape.name, kids: []*node{{name: "Payer", text: "BucketOwner"}}}
		doc, err = n.document().b, nil
	}
	if err != nil {
		return err
	}
	return q.sendXML(http.StatusOK, &xmlWriter{doc})
}

var accelerateShape = within("AccelerateConfiguration", 1, 1, one("Status", oneOf("Enabled", "Suspended")))

var putStatus = putShape(objstore.ConfigAccelerate, accelerateShape, nothingMore)

func (q *request) putAccelerate() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	if strings.Contains(q.bucket, ".") { // whatever the document says
		return errInvalidRequest("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
	}
	return putStatus(q)
}

var loggingShape = within("BucketLoggingStatus", 1, 1,
	within("LoggingEnabled", 0, 1,
		one("TargetBucket", someText),
		one("TargetPrefix", anyText),
		within("TargetGrants", 0, 1, within("Grant", 0, 100,
			within("Grantee", 0, 1, optional("ID", anyText), optional("DisplayName", anyText), optional("EmailAddress", anyText), optional("URI", anyText)),
			optional("Permission", oneOf("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")))),
		within("TargetObjectKeyFormat", 0, 1,
			within("SimplePrefix", 0, 1),
			within("PartitionedPrefix", 0, 1, optional("PartitionDateSource", oneOf("EventTime", "DeliveryTime"))))))

func checkLogging(q *request, n *node) error {
	target := strings.TrimSpace(n.value("LoggingEnabled", "TargetBucket"))
	if target == "" {
		return nil
	}
	_, err := q.s.store.HeadBucket(q.ctx, q.caller, target)
	if objstore.IsKind(err, objstore.KindNoSuchBucket) {
		return newError(http.StatusBadRequest, "InvalidTargetBucketForLogging", "The target bucket for logging does not exist", field("TargetBucket", target))
	}
	return err
}

var websiteShape = within("WebsiteConfiguration", 1, 1,
	within("ErrorDocument", 0, 1, one("Key", anyText)),
	within("IndexDocument", 0, 1, one("Suffix", anyText)),
	within("RedirectAllRequestsTo", 0, 1, one("HostName", someText), optional("Protocol", anyText)),
	within("RoutingRules", 0, 1, within("RoutingRule", 1, 50,
		within("Condition", 0, 1, optional("HttpErrorCodeReturnedEquals", anyText), optional("KeyPrefixEquals", anyText)),
		within("Redirect", 1, 1, optional("HostName", anyText), optional("HttpRedirectCode", anyText), optional("Protocol", anyText),
			optional("ReplaceKeyPrefixWith", anyText), optional("ReplaceKeyWith", anyText)))))

// checkWebsite refuses what AWS refuses of a website's configuration. Websites
// are not served: the configuration is kept for whoever asks for it.
func checkWebsite(_ *request, n *node) error {
	all, index := n.find("RedirectAllRequestsTo"), n.find("IndexDocument")
	if all != nil {
		if len(n.kids) > 1 {
			return errInvalidArgument("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.", all.name, "not null")
		}
		return checkProtocol(all)
	}
	if index == nil {
		return errInvalidArgument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty", "IndexDocument", "null")
	}
	if suffix := index.value("Suffix"); suffix == "" || strings.Contains(suffix, "/") {
		return errInvalidArgument("The IndexDocument Suffix is not well formed", index.name, suffix)
	}
	if e := n.find("ErrorDocument"); e != nil && e.value("Key") == "" {
		return errInvalidArgument("The ErrorDocument Key is not well formed", e.name, "")
	}
	for _, rule := range n.find("RoutingRules").all("RoutingRule") {
		if err := checkRoutingRule(rule); err != nil {
			return err
		}
	}
	return nil
}

func checkRoutingRule(rule *node) error {
	redirect, condition := rule.find("Redirect"), rule.find("Condition")
	if err := checkProtocol(redirect); err != nil {
		return err
	}
	if redirect.find("ReplaceKeyPrefixWith") != nil && redirect.find("ReplaceKeyWith") != nil {
		return errInvalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	}
	if condition != nil && len(condition.kids) == 0 {
		return errInvalidRequest("Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.")
	}
	if c := redirect.value("HttpRedirectCode"); c != "" && (len(c) != 3 || c[0] != '3' || c == "300" || !number(c)) {
		return errInvalidRequest("The provided HTTP redirect code (" + c + ") is not valid. Valid codes are 3XX except 300.")
	}
	if c := condition.value("HttpErrorCodeReturnedEquals"); c != "" && (len(c) != 3 || c[0] != '4' && c[0] != '5' || !number(c)) {
		return errInvalidRequest("The provided HTTP error code (" + c + ") is not valid. Valid codes are 4XX or 5XX.")
	}
	return nil
}

func checkProtocol(n *node) error {
	if p := n.find("Protocol"); p != nil && !slices.Contains([]string{"http", "https"}, p.text) {
		return errInvalidRequest("Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.")
	}
	return nil
}

var replicationShape = within("ReplicationConfiguration", 1, 1,
	one("Role", someText),
	within("Rule", 1, 1000,
		optional("ID", anyText), optional("Priority", number), optional("Prefix", anyText), one("Status", oneOf("Enabled", "Disabled")),
		within("Filter", 0, 1, optional("Prefix", anyText), tagShape(1), within("And", 0, 1, optional("Prefix", anyText), tagShape(many))),
		within("SourceSelectionCriteria", 0, 1,
			within("SseKmsEncryptedObjects", 0, 1, one("Status", oneOf("Enabled", "Disabled"))),
			within("ReplicaModifications", 0, 1, one("Status", oneOf("Enabled", "Disabled")))),
		within("ExistingObjectReplication", 0, 1, one("Status", oneOf("Enabled", "Disabled"))),
		within("DeleteMarkerReplication", 0, 1, optional("Status", oneOf("Enabled", "Disabled"))),
		within("Destination", 1, 1, one("Bucket", someText), optional("Account", anyText), optional("StorageClass", oneOf(storageClasses...)),
			within("AccessControlTranslation", 0, 1, one("Owner", oneOf("Destination"))),
			within("EncryptionConfiguration", 0, 1, optional("ReplicaKmsKeyID", anyText)),
			within("ReplicationTime", 0, 1, one("Status", oneOf("Enabled", "Disabled")), within("Time", 1, 1, optional("Minutes", number))),
			within("Metrics", 0, 1, one("Status", oneOf("Enabled", "Disabled")), within("EventThreshold", 0, 1, optional("Minutes", number))))))

// putReplication refuses what AWS refuses, in its words, and all else: whoever
// set up a replication that is not done would find out when it is too late.
func (q *request) putReplication() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	n, err := q.readShape(&replicationShape, maxConfigBytes)
	if err != nil {
		return err
	}
	if v, err := q.s.store.BucketVersioning(q.ctx, q.caller, q.bucket); err != nil {
		return err
	} else if v != objstore.VersioningEnabled {
		return errInvalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
	}
	for _, rule := range n.all("Rule") {
		target := strings.TrimPrefix(strings.TrimSpace(rule.value("Destination", "Bucket")), bucketARN(""))
		v, err := q.s.store.BucketVersioning(q.ctx, q.caller, target)
		if err != nil && !objstore.IsKind(err, objstore.KindNoSuchBucket) {
			return err
		}
		if err != nil || v != objstore.VersioningEnabled {
			return errInvalidRequest("Destination bucket must have versioning enabled.")
		}
	}
	return errNotBuilt("Replication")
}
