package policy

import (
	"slices"
	"strings"
)

// applies says which actions have a condition key.
type applies struct {
	on    scope    // all actions about that
	names []string // these, in lower case
}

func (a *applies) to(name string, on scope) bool {
	if strings.HasPrefix(name, "coffer:") { // which are asked for beside it
		name = "s3:putobject"
	}
	return a.on&on != 0 || slices.Contains(a.names, name)
}

// toSome reports whether the key is one of some action about that which a pattern names.
func (a *applies) toSome(pattern string, about scope) bool {
	for name, on := range actions {
		if on&about != 0 && a.to(name, on) && match(pattern, name, true) {
			return true
		}
	}
	return false
}

// conditionKey looks up a key, in lower case; nil: any action may have it.
func conditionKey(key string) (*applies, error) {
	switch service, _, _ := strings.Cut(key, ":"); service {
	// Of these S3 takes any, one of "aws:" that does not exist among them: so have the
	// developers of Scality's CloudServer found it (validatePolicyConditions there).
	case "aws", "ec2", "sts", "saml":
		return nil, nil
	}
	switch key { // of all services ("AWS global condition context keys", IAM user guide)
	case "codebuild:buildarn", "codebuild:projectarn", "glue:credentialissuingservice", "glue:roleassumedby",
		"identitystore:userid", "lambda:sourcefunctionarn", "ssm:sourceinstancearn":
		return nil, nil
	}
	if tag := strings.IndexByte(key, '/'); tag >= 0 {
		key = key[:tag+1]
	}
	a := conditionKeys[key]
	if a == nil {
		return nil, refuse("Policy has an invalid condition key")
	}
	return a, nil
}

// conditionKeys are the keys of S3 that a policy may ask for, in lower case, and the
// actions that it may ask for them with ("Actions, resources, and condition keys for
// Amazon S3", service authorization reference); those that end in a slash go on with
// the name of a tag. Where actions of this door have a key that S3 is not known to
// refuse with them, they are taken.
var conditionKeys = map[string]*applies{}

func init() {
	set := func(a *applies, keys ...string) {
		for i, name := range a.names {
			a.names[i] = lowered("s3:" + name)
		}
		for _, k := range keys {
			conditionKeys["s3:"+k] = a
		}
	}
	with := func(names ...string) *applies { return &applies{names: names} }

	set(&applies{on: onBucket | onObject}, "authtype", "resourceaccount", "signatureage", "signatureversion", "tlsversion", "x-amz-content-sha256",
		"accessgrantsinstancearn", "accesspointnetworkorigin", "accesspointtag/", "buckettag/", "dataaccesspointaccount", "dataaccesspointarn")
	set(&applies{on: onObject}, "if-match", "if-none-match", "versionid")
	set(with("ListBucket", "ListBucketVersions"), "prefix", "delimiter", "max-keys")
	set(with("CreateBucket"), "locationconstraint")
	set(with("CreateBucket", "PutBucketOwnershipControls"), "x-amz-object-ownership")
	set(with("CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl", "PutObjectVersionAcl", "ReplicateObject"),
		"x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp")
	set(with("PutObject", "ReplicateObject"), "objectcreationoperation", "x-amz-copy-source", "x-amz-metadata-directive",
		"x-amz-storage-class", "x-amz-website-redirect-location")
	set(with("PutObject", "ReplicateObject", "UpdateObjectEncryption"), "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
	set(with("PutObject", "ReplicateObject", "GetObject", "GetObjectVersion"), "x-amz-server-side-encryption-customer-algorithm")
	set(with("PutObject", "PutObjectRetention", "PutObjectLegalHold", "BypassGovernanceRetention", "ReplicateObject", "PutBucketObjectLockConfiguration"),
		"object-lock-legal-hold", "object-lock-mode", "object-lock-remaining-retention-days", "object-lock-retain-until-date")
	set(with("PutObject", "PutObjectTagging", "PutObjectVersionTagging", "BypassGovernanceRetention", "ReplicateObject", "ReplicateTags"),
		"requestobjecttag/", "requestobjecttagkeys")
	set(with("PutInventoryConfiguration"), "bucketinventoryformat", "inventoryaccessibleoptionalfields")

	// Of all that objects have, S3 refuses this one with Object Lock's reads alone.
	var tagged []string
	for name, on := range actions {
		if on == onObject && name != "s3:getobjectretention" && name != "s3:getobjectlegalhold" {
			tagged = append(tagged, strings.TrimPrefix(name, "s3:"))
		}
	}
	set(with(tagged...), "existingobjecttag/")
}
