package s3api

import (
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// maxACLBytes bounds an ACL document: S3 takes 100 grants.
const maxACLBytes = 64 << 10

// aclGroups are the predefined groups that an ACL can name ("Access control list
// (ACL) overview", S3 user guide).
var aclGroups = map[string]bool{
	"http://acs.amazonaws.com/groups/global/AllUsers":           true,
	"http://acs.amazonaws.com/groups/global/AuthenticatedUsers": true,
	"http://acs.amazonaws.com/groups/s3/LogDelivery":            true,
}

var aclPermissions = map[string]bool{"FULL_CONTROL": true, "READ": true, "READ_ACP": true, "WRITE": true, "WRITE_ACP": true}

const grantFullControl = "X-Amz-Grant-Full-Control"

// aclGrants are the headers that give a permission, in the order in which they are
// checked.
var aclGrants = [...]string{grantFullControl, "X-Amz-Grant-Read", "X-Amz-Grant-Read-Acp", "X-Amz-Grant-Write", "X-Amz-Grant-Write-Acp"}

// aclDocument is an AccessControlPolicy.
type aclDocument struct {
	Owner *struct {
		ID string
	}
	Grants *struct {
		Grant []struct {
			Grantee struct {
				Type                  string `xml:"type,attr"`
				ID, URI, EmailAddress string
			}
			Permission string
		}
	} `xml:"AccessControlList"`
}

func (q *request) putBucketACL() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	return q.putACL()
}

func (q *request) putObjectACL() error {
	if err := q.objectExists(); err != nil {
		return q.markerFails(err)
	}
	return q.putACL()
}

// putACL takes an ACL that says what holds anyway, that the owner may do
// everything and nobody else anything: clients that carry the ACL of a copy's
// source over to the copy set that one. It is checked as S3 checks it, and any
// other is refused as S3 refuses it where ACLs are disabled.
func (q *request) putACL() error {
	_, hasCanned := q.single("X-Amz-Acl")
	hasGrants := q.hasGrants()
	switch {
	case hasCanned && hasGrants:
		return errInvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	case hasCanned || hasGrants:
		if q.auth.ContentLength > 0 {
			return newError(http.StatusBadRequest, "UnexpectedContent", "This request does not support content")
		}
	case q.auth.ContentLength == 0:
		return newError(http.StatusBadRequest, "MissingSecurityHeader", "Your request was missing a required header",
			field("MissingHeaderName", "x-amz-acl"))
	default:
		return q.putACLDocument()
	}
	if hasCanned {
		if err := q.checkObjectACL(); err != nil {
			return err
		}
		return q.send(http.StatusOK)
	}
	owners, err := q.grantsToOwner()
	if err != nil {
		return err
	}
	if !owners {
		return errNoACL()
	}
	return q.send(http.StatusOK)
}

// checkNewBucketACL refuses what the headers of CreateBucket say of the bucket's ACL,
// unless it is what holds anyway: with the reason that S3 has under the ownership that
// the bucket is to get. A new bucket blocks public access.
func (q *request) checkNewBucketACL(ownership objstore.Ownership) error {
	canned, given := q.single("X-Amz-Acl")
	if given && q.hasGrants() {
		return errInvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	}
	owners, err := q.grantsToOwner()
	if err != nil {
		return err
	}
	harmless, known := cannedACLs[canned]
	switch {
	case canned != "" && !known:
		return newError(http.StatusBadRequest, "InvalidArgument", "", field("ArgumentName", "x-amz-acl"), field("ArgumentValue", canned))
	case (canned == "" || harmless) && owners:
		return nil
	case ownership == objstore.OwnerEnforced:
		return newError(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership",
			"Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	case canned == "public-read", canned == "public-read-write", canned == "authenticated-read":
		return newError(http.StatusBadRequest, "InvalidBucketAclWithBlockPublicAccessError",
			"Bucket cannot have public ACLs set with BlockPublicAccess enabled")
	}
	return errNoACL()
}

// grantsToOwner checks the headers that give a permission, and reports whether they
// give the owner all and nobody else anything, as none do.
func (q *request) grantsToOwner() (bool, error) {
	owners := true
	for _, name := range aclGrants {
		value, ok := q.single(name)
		if !ok {
			continue
		}
		own, err := q.parseGrantees(strings.ToLower(name), value)
		if err != nil {
			return false, err
		}
		owners = owners && own && name == grantFullControl
	}
	return owners, nil
}

// hasGrants reports whether the request's headers give any permission.
func (q *request) hasGrants() bool {
	for _, name := range aclGrants {
		if _, ok := q.single(name); ok {
			return true
		}
	}
	return false
}

// parseGrantees checks the grantees of a header, and reports whether they are the
// owner alone.
func (q *request) parseGrantees(name, value string) (owner bool, err error) {
	owner = true
	for grantee := range strings.SplitSeq(value, ",") {
		kind, who, ok := strings.Cut(strings.TrimSpace(grantee), "=")
		who = strings.Trim(who, `"`)
		switch {
		case ok && strings.EqualFold(kind, "id"):
			if !validCanonicalID(who) {
				return false, errInvalidArgument("Invalid id", "id", who)
			}
			owner = owner && who == ownerID
		case ok && strings.EqualFold(kind, "uri"):
			if !aclGroups[who] {
				return false, errInvalidArgument("Invalid group uri", "uri", who)
			}
			owner = false
		case ok && strings.EqualFold(kind, "emailAddress"):
			owner = false
		default:
			return false, errInvalidArgument("Argument format not recognized", name, value)
		}
	}
	return owner, nil
}

func (q *request) putACLDocument() error {
	malformed := newError(http.StatusBadRequest, "MalformedACLError", errMalformedXML().Message)
	var doc aclDocument
	if err := q.readDocument(maxACLBytes, "AccessControlPolicy", &doc); err != nil {
		if e, ok := err.(*apiError); ok && e.Code == errMalformedXML().Code {
			return malformed
		}
		return err
	}
	if doc.Owner == nil || doc.Owner.ID == "" || doc.Grants == nil {
		return malformed
	}
	for _, g := range doc.Grants.Grant {
		known := g.Grantee.Type == "CanonicalUser" && g.Grantee.ID != "" || g.Grantee.Type == "Group" && g.Grantee.URI != "" ||
			g.Grantee.Type == "AmazonCustomerByEmail" && g.Grantee.EmailAddress != ""
		if !known || !aclPermissions[g.Permission] {
			return malformed
		}
	}
	if !validCanonicalID(doc.Owner.ID) {
		return errInvalidArgument("Invalid id", "CanonicalUser/ID", doc.Owner.ID)
	}
	owners := doc.Owner.ID == ownerID
	full := false
	for _, g := range doc.Grants.Grant {
		switch g.Grantee.Type {
		case "CanonicalUser":
			if !validCanonicalID(g.Grantee.ID) {
				return errInvalidArgument("Invalid id", "CanonicalUser/ID", g.Grantee.ID)
			}
			owners = owners && g.Grantee.ID == ownerID
			full = full || g.Permission == "FULL_CONTROL"
		case "Group":
			if !aclGroups[g.Grantee.URI] {
				return errInvalidArgument("Invalid group uri", "Group/URI", g.Grantee.URI)
			}
			owners = false
		default:
			owners = false
		}
	}
	if !owners || !full {
		return errNoACL()
	}
	return q.send(http.StatusOK)
}

// validCanonicalID reports whether s has the form of a canonical user id.
func validCanonicalID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
