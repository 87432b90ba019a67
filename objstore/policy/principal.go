package policy

import (
	"slices"
	"strconv"
	"strings"
)

// Principal is who asks.
type Principal struct {
	// Account is the 12-digit account, empty for nobody that is known.
	Account string
	// Root: the account itself.
	Root bool
	// CanonicalID of the account.
	CanonicalID string
	// Names by which a policy can name this principal: an ARN, a user's unique id.
	Names []string
}

// principals is a Principal or NotPrincipal element.
type principals struct {
	not      bool
	anyone   bool
	accounts []string
	ids      []string // canonical
	users    []string // ARNs and unique ids, of roles too
	written  []span   // of users, in the document
}

// matches reports whether the statement is about p. The account as such stands
// for its users in a Deny only: an Allow to it leaves them to their own
// policies (IAM user guide, "AWS account principals").
func (l *principals) matches(p *Principal, allow bool) bool {
	if l.not {
		return !l.names(p, true)
	}
	return l.names(p, allow)
}

func (l *principals) names(p *Principal, allow bool) bool {
	switch {
	case l.anyone:
		return true
	case p.Account == "":
		return false
	case p.Root || !allow:
		if slices.Contains(l.accounts, p.Account) || p.CanonicalID != "" && slices.Contains(l.ids, p.CanonicalID) {
			return true
		}
	}
	for _, name := range p.Names {
		if slices.Contains(l.users, name) {
			return true
		}
	}
	return false
}

func errPrincipal() error { return refuse("Invalid principal in policy") }

func parsePrincipals(n *node, not bool) (*principals, error) {
	l := &principals{not: not}
	if n.kind == isText {
		if n.text != "*" {
			return nil, errPrincipal()
		}
		l.anyone = true
		return l, nil
	}
	if n.kind != isObject || len(n.fields) == 0 {
		return nil, errPrincipal()
	}
	for i := range n.fields {
		f := &n.fields[i]
		list := f.value.list
		if f.value.kind == isText {
			list = []node{f.value}
		}
		if len(list) == 0 {
			return nil, errPrincipal()
		}
		for i := range list {
			if list[i].kind != isText {
				return nil, errPrincipal()
			}
			if err := l.add(f.name, &list[i]); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

func (l *principals) add(kind string, n *node) error {
	s := n.text
	switch kind {
	case "AWS":
		return l.addAWS(s, n.at)
	case "CanonicalUser":
		if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
			return errPrincipal()
		}
		l.ids = append(l.ids, s)
	case "Service": // of which there are none here: a star stands for none
		if s != "*" && !strings.Contains(s, ".amazon") {
			return errPrincipal()
		}
	case "Federated": // likewise
		if s == "" {
			return errPrincipal()
		}
	default:
		return errPrincipal()
	}
	return nil
}

func (l *principals) addAWS(s string, at span) error {
	if s == "*" {
		l.anyone = true
		return nil
	}
	if isAccount(s) {
		l.accounts = append(l.accounts, s)
		return nil
	}
	if isUniqueID(s) {
		l.addUser(s, at)
		return nil
	}
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || !strings.HasPrefix(p[1], "aws") || p[3] != "" || !isAccount(p[4]) || strings.ContainsAny(s, "*?") {
		return errPrincipal()
	}
	kind, name, _ := strings.Cut(p[5], "/")
	switch {
	case p[2] == "iam" && p[5] == "root":
		l.accounts = append(l.accounts, p[4])
	case p[2] == "iam" && (kind == "user" || kind == "role") && name != "",
		p[2] == "sts" && (kind == "assumed-role" || kind == "federated-user") && name != "":
		l.addUser(s, at)
	default:
		return errPrincipal()
	}
	return nil
}

func (l *principals) addUser(s string, at span) {
	l.users, l.written = append(l.users, s), append(l.written, at)
}

// isUniqueID reports whether s has the shape of a unique id of IAM ("IAM
// identifiers", IAM user guide): of a user, AIDA and more with AWS.
func isUniqueID(s string) bool {
	return len(s) >= 16 && len(s) <= 128 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" && !isDigit(s[0])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// WithUsers returns the document that the policy was parsed from with other names
// for the users and roles that it names as principals, by ARN or unique id. A name
// has no character that JSON writes in another way. All else of the document stays
// as it is written.
func (p *Policy) WithUsers(document []byte, name func(user string) string) []byte {
	type change struct {
		at   span
		name string
	}
	var changes []change
	for i := range p.statements {
		l := p.statements[i].principals
		if l == nil {
			continue
		}
		for j, user := range l.users {
			if other := name(user); other != user {
				changes = append(changes, change{l.written[j], other})
			}
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.from - b.at.from })
	var out []byte
	done := 0
	for _, c := range changes {
		out = append(out, document[done:c.at.from]...)
		out = strconv.AppendQuote(out, c.name)
		done = c.at.to
	}
	return append(out, document[done:]...)
}
