package iam

import (
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// Principal is on whose behalf a request runs, with what binds
// it as of the moment of the request. It does not change.
type Principal struct {
	root    bool
	user    *user    // nil: root or anonymous
	session *session // nil: none
}

// Root is who holds the credentials of the store.
func Root() *Principal { return rootPrincipal }

// Anonymous is somebody without credentials.
func Anonymous() *Principal { return anonymousPrincipal }

var rootPrincipal, anonymousPrincipal = &Principal{root: true}, &Principal{}

// Anonymous reports whether nobody is known.
func (p *Principal) Anonymous() bool { return !p.root && p.user == nil }

// Root reports whether the principal is the account itself, with its own
// credentials or in a session that it began.
func (p *Principal) Root() bool { return p.root }

// UserName is aws:username, empty for root.
func (p *Principal) UserName() string {
	if p.user == nil {
		return ""
	}
	return p.user.name
}

// UserID is aws:userid: a user's own, the account's for root; in a session of
// AssumeRole with a colon and the session's name behind it.
func (p *Principal) UserID() string {
	if p.Anonymous() {
		return "anonymous"
	}
	id := objstore.AccountID
	if p.user != nil {
		id = p.user.rec.ID
	}
	if p.session != nil && p.session.Name != "" {
		id += ":" + p.session.Name
	}
	return id
}

// ARN is the user's, or the account's: by it policies name the principal. A
// session has that of whoever began it.
func (p *Principal) ARN() string {
	switch {
	case p.root:
		return "arn:aws:iam::" + objstore.AccountID + ":root"
	case p.user != nil:
		return p.user.arn()
	}
	return ""
}

// SessionARN is what GetCallerIdentity answers: the ARN of the session, if
// AssumeRole began it.
func (p *Principal) SessionARN() string {
	if p.session == nil || p.session.Role == "" {
		return p.ARN()
	}
	return assumedARN(p.session.Role, p.session.Name)
}

// Session reports whether the principal has temporary credentials, and since when.
func (p *Principal) Session() (begun time.Time, ok bool) {
	if p.session == nil {
		return time.Time{}, false
	}
	return p.session.Begun, true
}

func assumedARN(role, name string) string {
	return "arn:aws:sts::" + objstore.AccountID + ":assumed-role/" + role + "/" + name
}

// names are those by which policies name the principal, in a session too.
func (p *Principal) names() []string {
	if p.user == nil {
		return []string{p.ARN()}
	}
	return []string{p.ARN(), p.user.rec.ID}
}
