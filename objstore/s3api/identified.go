package s3api

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// Configurations that a bucket has several of, each with an id. They are kept
// and told; no metrics, analyses or inventories are made, and nothing changes
// its tier, since there is only one.

// configsPage is how many S3 lists at once.
const configsPage = 100

// identified is a family of such configurations.
type identified struct {
	family objstore.ConfigFamily
	list   string // root element of a list
	shape  shape
	// mismatch answers a document with another id than the request's.
	mismatch func() *apiError
	check    func(*request, *node) error
}

// tagShape is up to max elements Tag.
func tagShape(max int) shape {
	return within("Tag", 0, max, one("Key", someText), one("Value", anyText))
}

var metricsConfigs = identified{
	family: objstore.ConfigMetrics, list: "ListMetricsConfigurationsResult", mismatch: errMalformedXML, check: nothingMore,
	shape: within("MetricsConfiguration", 1, 1, one("Id", someText),
		within("Filter", 0, 1, optional("Prefix", anyText), tagShape(1), optional("AccessPointArn", someText),
			within("And", 0, 1, optional("Prefix", anyText), tagShape(many), optional("AccessPointArn", someText)))),
}

var analyticsConfigs = identified{
	family: objstore.ConfigAnalytics, list: "ListBucketAnalyticsConfigurationResult", mismatch: errMalformedXML, check: nothingMore,
	shape: within("AnalyticsConfiguration", 1, 1, one("Id", someText),
		within("Filter", 0, 1, optional("Prefix", anyText), tagShape(1), within("And", 0, 1, optional("Prefix", anyText), tagShape(many))),
		within("StorageClassAnalysis", 1, 1, within("DataExport", 0, 1, one("OutputSchemaVersion", oneOf("V_1")),
			within("Destination", 1, 1, within("S3BucketDestination", 1, 1,
				one("Format", oneOf("CSV")), optional("BucketAccountId", anyText), one("Bucket", someText), optional("Prefix", anyText)))))),
}

var inventoryConfigs = identified{
	family: objstore.ConfigInventory, list: "ListInventoryConfigurationsResult",
	mismatch: func() *apiError {
		return newError(http.StatusBadRequest, "IdMismatch", "Document ID does not match the specified configuration ID.")
	},
	check: func(_ *request, n *node) error {
		if !strings.HasPrefix(n.value("Destination", "S3BucketDestination", "Bucket"), bucketARN("")) {
			return newError(http.StatusBadRequest, "InvalidS3DestinationBucket", "Invalid bucket ARN.")
		}
		return nil
	},
	shape: within("InventoryConfiguration", 1, 1,
		within("Destination", 1, 1, within("S3BucketDestination", 1, 1,
			optional("AccountId", anyText), one("Bucket", someText), one("Format", oneOf("CSV", "ORC", "Parquet")), optional("Prefix", anyText),
			within("Encryption", 0, 1, within("SSE-S3", 0, 1), within("SSE-KMS", 0, 1, one("KeyId", someText))))),
		one("IsEnabled", oneOf("true", "false")),
		within("Filter", 0, 1, one("Prefix", anyText)),
		one("Id", someText),
		one("IncludedObjectVersions", oneOf("All", "Current")),
		within("OptionalFields", 0, 1, shape{"Field", 0, many, oneOf("Size", "LastModifiedDate", "StorageClass", "ETag", "IsMultipartUploaded", "ReplicationStatus",
			"EncryptionStatus", "ObjectLockRetainUntilDate", "ObjectLockMode", "ObjectLockLegalHoldStatus", "IntelligentTieringAccessTier", "BucketKeyStatus",
			"ChecksumAlgorithm", "ObjectAccessControlList", "ObjectOwner", "LifecycleExpirationDate"), nil}),
		within("Schedule", 1, 1, one("Frequency", oneOf("Daily", "Weekly")))),
}

var tieringConfigs = identified{
	family: objstore.ConfigIntelligentTiering, list: "ListBucketIntelligentTieringConfigurationsOutput", mismatch: errMalformedXML, check: nothingMore,
	shape: within("IntelligentTieringConfiguration", 1, 1, one("Id", someText),
		within("Filter", 0, 1, optional("Prefix", anyText), tagShape(1), within("And", 0, 1, optional("Prefix", anyText), tagShape(many))),
		one("Status", oneOf("Enabled", "Disabled")),
		within("Tiering", 1, 2, one("AccessTier", oneOf("ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS")), one("Days", number))),
}

// id reads the id that a request must have.
func (c *identified) id(q *request) (objstore.ConfigName, error) {
	id, ok := q.param("id")
	if !ok || id == "" {
		return "", errInvalidArgument("Missing required parameter: id", "id", "")
	}
	if len(id) > objstore.MaxConfigID || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return "", newError(http.StatusBadRequest, "InvalidConfigurationId", "The specified configuration ID is not valid.")
	}
	return c.family.Name(id), nil
}

// get answers with the configuration of an id, or with a page of all.
func (c *identified) get(q *request) error {
	if _, ok := q.param("id"); !ok {
		return c.listAll(q)
	}
	name, err := c.id(q)
	if err != nil {
		return err
	}
	doc, err := q.s.store.BucketConfig(q.ctx, q.caller, q.bucket, name)
	if err != nil {
		return err
	}
	return q.sendXML(http.StatusOK, &xmlWriter{doc})
}

func (c *identified) listAll(q *request) error {
	after := ""
	token := q.query.Get("continuation-token")
	if token != "" {
		var err error
		if after, err = parseToken(token); err != nil {
			return err
		}
	}
	list, truncated, err := q.s.store.ListBucketConfigs(q.ctx, q.caller, q.bucket, c.family, after, configsPage)
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root(c.list)
	// What is kept are whole documents: the root element loses its namespace, which
	// that of the list has.
	first := []byte("<" + c.shape.name + ` xmlns="` + namespace + `">`)
	for _, item := range list {
		_, rest, ok := bytes.Cut(item.Document, first)
		if !ok {
			return objstore.E(objstore.KindCorrupt, q.op, string(item.Name), "not a configuration document of that family")
		}
		x.open(c.shape.name)
		x.b = append(x.b, rest...)
	}
	x.bool("IsTruncated", truncated)
	x.textIf("ContinuationToken", token)
	if truncated {
		_, id, _ := list[len(list)-1].Name.Family()
		x.text("NextContinuationToken", formatToken(id))
	}
	x.close(c.list)
	return q.sendXML(http.StatusOK, &x)
}

func (c *identified) put(q *request) error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	name, err := c.id(q)
	if err != nil {
		return err
	}
	n, err := q.readShape(&c.shape, maxConfigBytes)
	if err != nil {
		return err
	}
	if c.family.Name(n.value("Id")) != name {
		return c.mismatch()
	}
	if err := c.check(q, n); err != nil {
		return err
	}
	if err := q.setConfig(name, n.document()); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

func (c *identified) delete(q *request) error {
	name, err := c.id(q)
	if err != nil {
		return err
	}
	if err := q.s.store.DeleteBucketConfig(q.ctx, q.caller, q.bucket, name); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}
