package s3api

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// route is an operation.
type route struct {
	name   string // of S3's API reference
	handle func(*request) error
}

// subresource is a query parameter that makes another operation of a method.
// The first one of a list that is in the query counts.
type subresource struct {
	param string
	route
}

// resource are the operations of a method on one kind of resource.
type resource struct {
	subresources []subresource
	plain        route // without any of them; handle is nil when there is none
}

var serviceRoutes = map[string]resource{
	http.MethodGet: {plain: route{"ListBuckets", (*request).listBuckets}},
}

var bucketRoutes = map[string]resource{
	http.MethodGet: {
		subresources: []subresource{
			{"location", route{"GetBucketLocation", (*request).getBucketLocation}},
			{"uploads", route{"ListMultipartUploads", (*request).listUploads}},
			{"versions", route{"ListObjectVersions", (*request).listVersions}},
			{"versioning", route{"GetBucketVersioning", (*request).getBucketVersioning}},
			{"acl", route{"GetBucketAcl", (*request).getBucketACL}},
			{"policy", route{"GetBucketPolicy", (*request).getBucketPolicy}},
			{"policyStatus", route{"GetBucketPolicyStatus", (*request).getBucketPolicyStatus}},
			{"encryption", route{"GetBucketEncryption", (*request).getBucketEncryption}},
			{"tagging", route{"GetBucketTagging", getConfig(objstore.ConfigTagging, "NoSuchTagSet", "The TagSet does not exist")}},
			{"cors", route{"GetBucketCors", getConfig(objstore.ConfigCORS, "NoSuchCORSConfiguration", "The CORS configuration does not exist")}},
			{"lifecycle", route{"GetBucketLifecycleConfiguration", (*request).getLifecycle}},
			{"website", route{"GetBucketWebsite", getConfig(objstore.ConfigWebsite, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")}},
			{"replication", route{"GetBucketReplication", unset("ReplicationConfigurationNotFoundError", "The replication configuration was not found")}},
			{"object-lock", route{"GetObjectLockConfiguration", (*request).getLockConfig}},
			{"publicAccessBlock", route{"GetPublicAccessBlock", (*request).getPublicAccessBlock}},
			{"ownershipControls", route{"GetBucketOwnershipControls", (*request).getOwnershipControls}},
			{"notification", route{"GetBucketNotificationConfiguration", getConfigOr(objstore.ConfigNotification, "NotificationConfiguration")}},
			{"logging", route{"GetBucketLogging", getConfigOr(objstore.ConfigLogging, "BucketLoggingStatus")}},
			{"accelerate", route{"GetBucketAccelerateConfiguration", getConfigOr(objstore.ConfigAccelerate, "AccelerateConfiguration")}},
			{"requestPayment", route{"GetBucketRequestPayment", (*request).getRequestPayment}},
			{"analytics", route{"ListBucketAnalyticsConfigurations", analyticsConfigs.get}},
			{"metrics", route{"ListBucketMetricsConfigurations", metricsConfigs.get}},
			{"inventory", route{"ListBucketInventoryConfigurations", inventoryConfigs.get}},
			{"intelligent-tiering", route{"ListBucketIntelligentTieringConfigurations", tieringConfigs.get}},
			{"abac", route{"GetBucketAbac", (*request).getAbac}},
			{"metadataConfiguration", route{"GetBucketMetadataConfiguration", unset("MetadataConfigurationNotFound", "The metadata configuration was not found")}},
			{"metadataTable", route{"GetBucketMetadataTableConfiguration", (*request).getMetadataTable}},
			{"list-type", route{"ListObjectsV2", (*request).listObjectsV2}},
		},
		plain: route{"ListObjects", (*request).listObjectsV1},
	},
	http.MethodHead: {plain: route{"HeadBucket", (*request).headBucket}},
	http.MethodPut: {
		subresources: append([]subresource{
			{"versioning", route{"PutBucketVersioning", (*request).putBucketVersioning}},
			{"object-lock", route{"PutObjectLockConfiguration", (*request).putLockConfig}},
			{"encryption", route{"PutBucketEncryption", (*request).putBucketEncryption}},
			{"acl", route{"PutBucketAcl", (*request).putBucketACL}},
			{"policy", route{"PutBucketPolicy", (*request).putBucketPolicy}},
			{"publicAccessBlock", route{"PutPublicAccessBlock", (*request).putPublicAccessBlock}},
			{"ownershipControls", route{"PutBucketOwnershipControls", (*request).putOwnershipControls}},
			{"tagging", route{"PutBucketTagging", (*request).putBucketTagging}},
			{"cors", route{"PutBucketCors", (*request).putBucketCORS}},
			{"lifecycle", route{"PutBucketLifecycleConfiguration", (*request).putLifecycle}},
			{"website", route{"PutBucketWebsite", putShape(objstore.ConfigWebsite, websiteShape, checkWebsite)}},
			{"replication", route{"PutBucketReplication", (*request).putReplication}},
			{"notification", route{"PutBucketNotificationConfiguration", putNotification}},
			{"logging", route{"PutBucketLogging", putShape(objstore.ConfigLogging, loggingShape, checkLogging)}},
			{"accelerate", route{"PutBucketAccelerateConfiguration", (*request).putAccelerate}},
			{"requestPayment", route{"PutBucketRequestPayment", putShape(objstore.ConfigRequestPayment, requestPaymentShape, nothingMore)}},
			{"analytics", route{"PutBucketAnalyticsConfiguration", analyticsConfigs.put}},
			{"metrics", route{"PutBucketMetricsConfiguration", metricsConfigs.put}},
			{"inventory", route{"PutBucketInventoryConfiguration", inventoryConfigs.put}},
			{"intelligent-tiering", route{"PutBucketIntelligentTieringConfiguration", tieringConfigs.put}},
		}, notBuilt("abac", "PutBucketAbac", "metadataInventoryTable", "UpdateBucketMetadataInventoryTableConfiguration",
			"metadataJournalTable", "UpdateBucketMetadataJournalTableConfiguration",
			"metadataAnnotationTable", "UpdateBucketMetadataAnnotationTableConfiguration")...),
		plain: route{"CreateBucket", (*request).createBucket},
	},
	http.MethodPost: {
		subresources: append([]subresource{{"delete", route{"DeleteObjects", (*request).deleteObjects}}},
			notBuilt("metadataConfiguration", "CreateBucketMetadataConfiguration", "metadataTable", "CreateBucketMetadataTableConfiguration")...),
		plain: route{"PostObject", (*request).refuseForm},
	},
	http.MethodDelete: {
		subresources: append([]subresource{
			{"policy", route{"DeleteBucketPolicy", deleteConfig(objstore.ConfigPolicy)}},
			{"publicAccessBlock", route{"DeletePublicAccessBlock", (*request).deletePublicAccessBlock}},
			{"ownershipControls", route{"DeleteBucketOwnershipControls", (*request).deleteOwnershipControls}},
			{"tagging", route{"DeleteBucketTagging", deleteConfig(objstore.ConfigTagging)}},
			{"cors", route{"DeleteBucketCors", deleteConfig(objstore.ConfigCORS)}},
			{"lifecycle", route{"DeleteBucketLifecycle", deleteConfig(objstore.ConfigLifecycle)}},
			{"website", route{"DeleteBucketWebsite", deleteConfig(objstore.ConfigWebsite)}},
			{"encryption", route{"DeleteBucketEncryption", (*request).deleteBucketEncryption}},
			{"replication", route{"DeleteBucketReplication", (*request).deleteUnset}},
			{"analytics", route{"DeleteBucketAnalyticsConfiguration", analyticsConfigs.delete}},
			{"metrics", route{"DeleteBucketMetricsConfiguration", metricsConfigs.delete}},
			{"inventory", route{"DeleteBucketInventoryConfiguration", inventoryConfigs.delete}},
			{"intelligent-tiering", route{"DeleteBucketIntelligentTieringConfiguration", tieringConfigs.delete}},
		}, notBuilt("metadataConfiguration", "DeleteBucketMetadataConfiguration", "metadataTable", "DeleteBucketMetadataTableConfiguration")...),
		plain: route{"DeleteBucket", (*request).deleteBucket},
	},
}

var objectRoutes = map[string]resource{
	http.MethodGet: {
		subresources: append([]subresource{
			{"uploadId", route{"ListParts", (*request).listParts}},
			{"attributes", route{"GetObjectAttributes", (*request).getAttributes}},
			{"acl", route{"GetObjectAcl", (*request).getObjectACL}},
			{"tagging", route{"GetObjectTagging", (*request).getObjectTagging}},
			{"retention", route{"GetObjectRetention", (*request).getRetention}},
			{"legal-hold", route{"GetObjectLegalHold", (*request).getLegalHold}},
		}, notBuilt("torrent", "GetObjectTorrent", "annotation", "GetObjectAnnotation")...),
		plain: route{"GetObject", (*request).getObject},
	},
	http.MethodHead: {plain: route{"HeadObject", (*request).headObject}},
	http.MethodPut: {
		subresources: append([]subresource{
			{"uploadId", route{"UploadPart", (*request).uploadPart}},
			{"partNumber", route{"UploadPart", (*request).uploadPart}},
			{"tagging", route{"PutObjectTagging", (*request).putObjectTagging}},
			{"renameObject", route{"RenameObject", (*request).renameObject}},
			{"encryption", route{"UpdateObjectEncryption", (*request).updateObjectEncryption}},
			{"acl", route{"PutObjectAcl", (*request).putObjectACL}},
			{"retention", route{"PutObjectRetention", (*request).putRetention}},
			{"legal-hold", route{"PutObjectLegalHold", (*request).putLegalHold}},
		}, notBuilt("append", "PutObject?append", "annotation", "PutObjectAnnotation")...),
		plain: route{"PutObject", (*request).putObject},
	},
	http.MethodPost: {
		subresources: []subresource{
			{"uploads", route{"CreateMultipartUpload", (*request).createUpload}},
			{"uploadId", route{"CompleteMultipartUpload", (*request).completeUpload}},
			{"restore", route{"RestoreObject", (*request).restoreObject}},
			{"select", route{"SelectObjectContent", (*request).refuseSelect}},
		},
	},
	http.MethodDelete: {
		subresources: []subresource{
			{"uploadId", route{"AbortMultipartUpload", (*request).abortUpload}},
			{"tagging", route{"DeleteObjectTagging", (*request).deleteObjectTagging}},
			notBuilt("annotation", "DeleteObjectAnnotation")[0],
		},
		plain: route{"DeleteObject", (*request).deleteObject},
	},
}

// The subresources of each kind of resource, told from parameters for the methods
// that have no such operation: DELETE of a bucket's ?versioning must not delete the
// bucket. partNumber is left out, since GET has it for a parameter.
var bucketSubresources, objectSubresources = subresourcesOf(bucketRoutes), subresourcesOf(objectRoutes)

func subresourcesOf(table map[string]resource) map[string]bool {
	names := map[string]bool{}
	for _, res := range table {
		for _, s := range res.subresources {
			names[s.param] = s.param != "partNumber"
		}
	}
	return names
}

// unbuilt are the names of the operations of notBuilt.
var unbuilt = map[string]bool{}

// notBuilt are operations, by parameter and name, that are refused with
// NotImplemented. It is better to say so than to store an object where something
// else was meant.
func notBuilt(paramsAndNames ...string) []subresource {
	list := make([]subresource, 0, len(paramsAndNames)/2)
	for i := 0; i < len(paramsAndNames); i += 2 {
		name := paramsAndNames[i+1]
		unbuilt[name] = true
		list = append(list, subresource{paramsAndNames[i], route{name, func(*request) error { return errNotBuilt(name) }}})
	}
	return list
}

// parseTarget finds bucket and key. The path is percent-decoded once, by
// net/url, and taken apart at the first slash; nothing is cleaned.
func (q *request) parseTarget() {
	q.query = q.r.URL.Query()
	path := strings.TrimPrefix(q.r.URL.Path, "/")
	if q.bucket = bucketOfHost(q.r.Host, q.s.o.Domains); q.bucket != "" {
		q.virtualHost = true
		q.key = path
		return
	}
	q.bucket, q.key, _ = strings.Cut(path, "/")
}

// bucketOfHost is the bucket of a virtual-host style request, or empty.
func bucketOfHost(host string, domains []string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	bucket := ""
	for _, d := range domains {
		if host == d {
			return "" // a domain may lie within another
		}
		if b, ok := strings.CutSuffix(host, "."+d); ok && (bucket == "" || len(b) < len(bucket)) {
			bucket = b
		}
	}
	return bucket
}

// route finds the operation.
func (q *request) route() (route, error) {
	table, subresources, kind := objectRoutes, objectSubresources, "OBJECT"
	switch {
	case q.bucket == "" && q.key != "":
		return route{}, newError(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.", field("BucketName", ""))
	case q.bucket == "":
		table, subresources, kind = serviceRoutes, nil, "SERVICE"
	case q.key == "":
		table, subresources, kind = bucketRoutes, bucketSubresources, "BUCKET"
	}
	if err := q.checkSelectors(subresources); err != nil {
		return route{}, err
	}
	res, ok := table[q.r.Method]
	if ok {
		for i := range res.subresources {
			if _, ok := q.query[res.subresources[i].param]; ok {
				return res.subresources[i].route, nil
			}
		}
		other := false
		for param := range q.query {
			other = other || subresources[param]
		}
		if res.plain.handle != nil && !other {
			return res.plain, nil
		}
	}
	q.w.Header()["Allow"] = []string{strings.Join(slices.Sorted(maps.Keys(table)), ", ")}
	return route{}, q.errMethod(kind)
}

// checkSelectors refuses a request of two operations, and one that names a version of a
// bucket, which has none.
func (q *request) checkSelectors(subresources map[string]bool) error {
	var selected []string
	for param := range q.query {
		if subresources[param] && param != "list-type" {
			selected = append(selected, param)
		}
	}
	if len(selected) > 1 {
		slices.Sort(selected)
		return errInvalidArgument("Conflicting query string parameters: "+strings.Join(selected, ", "), "ResourceType", selected[0])
	}
	version, ok := q.param("versionId")
	if !ok || q.bucket == "" || q.key != "" || q.r.Method == http.MethodPost || q.r.Method == http.MethodPut && len(selected) == 0 {
		return nil
	}
	if len(selected) == 1 && selected[0] == "acl" && q.r.Method == http.MethodGet {
		return errInvalidArgument("Invalid version id specified", "versionId", version)
	}
	return errNoVersion(version)
}

// errNoVersion refuses a version in an operation that is of none.
func errNoVersion(version string) error {
	return errInvalidArgument("This operation does not accept a version-id.", "versionId", version)
}

// checkTarget refuses names that cannot exist.
func (q *request) checkTarget(r route) error {
	if q.bucket == "" {
		return nil
	}
	if !objstore.ValidBucketName(q.bucket) {
		return objstore.E(objstore.KindInvalidBucketName, r.name, q.bucket, "")
	}
	if q.key == "" {
		return nil
	}
	if aboveStart(q.key) {
		return errBare(http.StatusBadRequest, "BadRequest")
	}
	return objstore.CheckKey(r.name, q.key)
}

// aboveStart reports whether a key, read as a path, leads out of where it begins: more
// names are taken back by ".." than there were ("Naming Amazon S3 objects", S3 user
// guide). S3 refuses such a request before it is anything else's business. A key in a
// header or document is none: what an older coffer took can be copied, renamed, and
// removed by DeleteObjects.
func aboveStart(key string) bool {
	depth := 0
	for name := range strings.SplitSeq(key, "/") {
		switch name {
		case ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}
