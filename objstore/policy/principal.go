package policy

import (
	"slices"
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
	// ARNs by which a policy can name this principal.
	ARNs []string
}

// principals is a Principal or NotPrincipal element.
type principals struct {
	not      bool
	anyone   bool
	accounts []string
	ids      []string // canonical
	arns     []string
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
	for _, arn := range p.ARNs {
		if slices.Contains(l.arns, arn) {
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
		list, ok := f.value.texts(false)
		if !ok || len(list) == 0 {
			return nil, errPrincipal()
		}
		for _, s := range list {
			if err := l.add(f.name, s); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

func (l *principals) add(kind, s string) error {
	switch kind {
	case "AWS":
		return l.addAWS(s)
	case "CanonicalUser":
		if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
			return errPrincipal()
		}
		l.ids = append(l.ids, s)
	case "Service", "Federated": // of which there are none here
		if s == "" {
			return errPrincipal()
		}
		l.anyone = l.anyone || s == "*"
	default:
		return errPrincipal()
	}
	return nil
}

func (l *principals) addAWS(s string) error {
	if s == "*" {
		l.anyone = true
		return nil
	}
	if isAccount(s) {
		l.accounts = append(l.accounts, s)
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
		l.arns = append(l.arns, s)
	default:
		return errPrincipal()
	}
	return nil
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}
