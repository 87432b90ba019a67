package s3api

// overwriteAction is denied to whoever may write new objects alone; see
// policy.OverwriteObject.
const overwriteAction = "coffer:OverwriteObject"

// renamePrefixAction is what renaming all keys below a prefix takes, from and
// to: nothing less could speak for keys that the request does not name.
const renamePrefixAction = "coffer:RenamePrefix"

// perKey stands in actions for what a handler asks for each key.
const perKey = ""

// actions are what an operation needs to be allowed ("Required permissions for
// Amazon S3 API operations", S3 user guide), by its name in the tables of routes;
// for a version where the request names one, see versionActions. What depends on
// the request's headers is added by (*request).needs. An operation that is not
// here is root's alone.
var actions = map[string][]string{
	"ListBuckets": {"s3:ListAllMyBuckets"},

	"CreateBucket":         {"s3:CreateBucket"},
	"HeadBucket":           {"s3:ListBucket"},
	"DeleteBucket":         {"s3:DeleteBucket"},
	"GetBucketLocation":    {"s3:GetBucketLocation"},
	"ListObjects":          {"s3:ListBucket"},
	"ListObjectsV2":        {"s3:ListBucket"},
	"ListObjectVersions":   {"s3:ListBucketVersions"},
	"ListMultipartUploads": {"s3:ListBucketMultipartUploads"},
	"DeleteObjects":        {perKey},

	"GetBucketAcl":        {"s3:GetBucketAcl"},
	"PutBucketAcl":        {"s3:PutBucketAcl"},
	"GetBucketPolicy":     {"s3:GetBucketPolicy"},
	"PutBucketPolicy":     {"s3:PutBucketPolicy"},
	"DeleteBucketPolicy":  {"s3:DeleteBucketPolicy"},
	"GetBucketVersioning": {"s3:GetBucketVersioning"},
	"PutBucketVersioning": {"s3:PutBucketVersioning"},

	"GetBucketPolicyStatus":         {"s3:GetBucketPolicyStatus"},
	"GetBucketEncryption":           {"s3:GetEncryptionConfiguration"},
	"PutBucketEncryption":           {"s3:PutEncryptionConfiguration"},
	"DeleteBucketEncryption":        {"s3:PutEncryptionConfiguration"},
	"GetBucketTagging":              {"s3:GetBucketTagging"},
	"PutBucketTagging":              {"s3:PutBucketTagging"},
	"DeleteBucketTagging":           {"s3:PutBucketTagging"},
	"GetBucketCors":                 {"s3:GetBucketCORS"},
	"PutBucketCors":                 {"s3:PutBucketCORS"},
	"DeleteBucketCors":              {"s3:PutBucketCORS"},
	"GetBucketWebsite":              {"s3:GetBucketWebsite"},
	"PutBucketWebsite":              {"s3:PutBucketWebsite"},
	"DeleteBucketWebsite":           {"s3:DeleteBucketWebsite"},
	"GetBucketReplication":          {"s3:GetReplicationConfiguration"},
	"PutBucketReplication":          {"s3:PutReplicationConfiguration"},
	"DeleteBucketReplication":       {"s3:PutReplicationConfiguration"},
	"GetObjectLockConfiguration":    {"s3:GetBucketObjectLockConfiguration"},
	"PutObjectLockConfiguration":    {"s3:PutBucketObjectLockConfiguration"},
	"GetPublicAccessBlock":          {"s3:GetBucketPublicAccessBlock"},
	"PutPublicAccessBlock":          {"s3:PutBucketPublicAccessBlock"},
	"DeletePublicAccessBlock":       {"s3:PutBucketPublicAccessBlock"},
	"GetBucketOwnershipControls":    {"s3:GetBucketOwnershipControls"},
	"PutBucketOwnershipControls":    {"s3:PutBucketOwnershipControls"},
	"DeleteBucketOwnershipControls": {"s3:PutBucketOwnershipControls"},
	"GetBucketLogging":              {"s3:GetBucketLogging"},
	"PutBucketLogging":              {"s3:PutBucketLogging"},
	"GetBucketRequestPayment":       {"s3:GetBucketRequestPayment"},
	"PutBucketRequestPayment":       {"s3:PutBucketRequestPayment"},

	"GetBucketLifecycleConfiguration":    {"s3:GetLifecycleConfiguration"},
	"PutBucketLifecycleConfiguration":    {"s3:PutLifecycleConfiguration"},
	"DeleteBucketLifecycle":              {"s3:PutLifecycleConfiguration"},
	"GetBucketNotificationConfiguration": {"s3:GetBucketNotification"},
	"PutBucketNotificationConfiguration": {"s3:PutBucketNotification"},
	"GetBucketAccelerateConfiguration":   {"s3:GetAccelerateConfiguration"},
	"PutBucketAccelerateConfiguration":   {"s3:PutAccelerateConfiguration"},

	"GetBucketAnalyticsConfiguration":             {"s3:GetAnalyticsConfiguration"},
	"ListBucketAnalyticsConfigurations":           {"s3:GetAnalyticsConfiguration"},
	"PutBucketAnalyticsConfiguration":             {"s3:PutAnalyticsConfiguration"},
	"DeleteBucketAnalyticsConfiguration":          {"s3:PutAnalyticsConfiguration"},
	"GetBucketMetricsConfiguration":               {"s3:GetMetricsConfiguration"},
	"ListBucketMetricsConfigurations":             {"s3:GetMetricsConfiguration"},
	"PutBucketMetricsConfiguration":               {"s3:PutMetricsConfiguration"},
	"DeleteBucketMetricsConfiguration":            {"s3:PutMetricsConfiguration"},
	"GetBucketInventoryConfiguration":             {"s3:GetInventoryConfiguration"},
	"ListBucketInventoryConfigurations":           {"s3:GetInventoryConfiguration"},
	"PutBucketInventoryConfiguration":             {"s3:PutInventoryConfiguration"},
	"DeleteBucketInventoryConfiguration":          {"s3:PutInventoryConfiguration"},
	"GetBucketIntelligentTieringConfiguration":    {"s3:GetIntelligentTieringConfiguration"},
	"ListBucketIntelligentTieringConfigurations":  {"s3:GetIntelligentTieringConfiguration"},
	"PutBucketIntelligentTieringConfiguration":    {"s3:PutIntelligentTieringConfiguration"},
	"DeleteBucketIntelligentTieringConfiguration": {"s3:PutIntelligentTieringConfiguration"},

	"GetBucketAbac":                       {"s3:GetBucketAbac"},
	"GetBucketMetadataConfiguration":      {"s3:GetBucketMetadataTableConfiguration"},
	"GetBucketMetadataTableConfiguration": {"s3:GetBucketMetadataTableConfiguration"},

	"GetObject":               {"s3:GetObject"},
	"HeadObject":              {"s3:GetObject"},
	"GetObjectAttributes":     {"s3:GetObject", "s3:GetObjectAttributes"},
	"GetObjectTagging":        {"s3:GetObjectTagging"},
	"GetObjectAcl":            {"s3:GetObjectAcl"},
	"GetObjectRetention":      {"s3:GetObjectRetention"},
	"GetObjectLegalHold":      {"s3:GetObjectLegalHold"},
	"GetObjectTorrent":        {"s3:GetObjectTorrent"},
	"SelectObjectContent":     {"s3:GetObject"},
	"PutObject":               {"s3:PutObject"},
	"PostObject":              {"s3:PutObject"},
	"CopyObject":              {"s3:PutObject"},
	"PutObjectTagging":        {"s3:PutObjectTagging"},
	"PutObjectAcl":            {"s3:PutObjectAcl"},
	"PutObjectRetention":      {"s3:PutObjectRetention"},
	"PutObjectLegalHold":      {"s3:PutObjectLegalHold"},
	"UpdateObjectEncryption":  {"s3:UpdateObjectEncryption"},
	"RenameObject":            {"s3:PutObject"},
	"RestoreObject":           {"s3:RestoreObject"},
	"DeleteObject":            {"s3:DeleteObject"},
	"DeleteObjectTagging":     {"s3:DeleteObjectTagging"},
	"CreateMultipartUpload":   {"s3:PutObject"},
	"UploadPart":              {"s3:PutObject"},
	"CompleteMultipartUpload": {"s3:PutObject"},
	"AbortMultipartUpload":    {"s3:AbortMultipartUpload"},
	"ListParts":               {"s3:ListMultipartUploadParts"},
}

// versionActions are those that have another name for a version.
var versionActions = map[string]string{
	"s3:GetObject":           "s3:GetObjectVersion",
	"s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
	"s3:GetObjectTagging":    "s3:GetObjectVersionTagging",
	"s3:GetObjectAcl":        "s3:GetObjectVersionAcl",
	"s3:GetObjectTorrent":    "s3:GetObjectVersionTorrent",
	"s3:PutObjectTagging":    "s3:PutObjectVersionTagging",
	"s3:PutObjectAcl":        "s3:PutObjectVersionAcl",
	"s3:DeleteObject":        "s3:DeleteObjectVersion",
	"s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
}
