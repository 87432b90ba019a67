package policy

import (
	"errors"
	"slices"
	"strings"
)

const (
	// MaxDocument bounds a document, in bytes: S3's limit for bucket policies.
	MaxDocument = 20 << 10
	// maxStatements bounds the statements of a document.
	maxStatements = 256
)

// Kind is what a policy is attached to.
type Kind uint8

const (
	// Identity policies belong to a user: they name no principal.
	Identity Kind = iota
	// Resource policies belong to a bucket: each statement says whom it is about.
	Resource
)

// Decision is what one policy says about a request.
type Decision uint8

const (
	None  Decision = iota // nothing
	Allow                 // a statement allows it and none denies it
	Deny                  // a statement denies it
)

func (d Decision) String() string {
	return [...]string{"none", "allow", "deny"}[d]
}

// Error says what is wrong with a document, in S3's words where S3 has some.
type Error struct{ Message string }

func (e *Error) Error() string { return "policy: " + e.Message }

func refuse(message string) error { return &Error{message} }

// Request is what is asked for.
type Request struct {
	Action    string // "s3:GetObject"
	Resource  string // an ARN
	Principal Principal
	// Values returns the values of a condition key, which is in lower case. ok
	// is false when the request has no such key. It may be called several times
	// for one key. Nil: there are none.
	Values func(key string) (values []string, ok bool)
}

func (r *Request) value(key string) ([]string, bool) {
	if r.Values == nil {
		return nil, false
	}
	return r.Values(key)
}

// Policy is a compiled document. It does not change.
type Policy struct {
	statements []statement
}

type statement struct {
	sid         string
	allow       bool
	principals  *principals // nil in identity policies
	actions     []pattern
	notAction   bool
	resources   []pattern
	written     []string // the resources as they stand in the document
	notResource bool
	conditions  []condition
}

// Evaluate returns what the policy says about a request.
func (p *Policy) Evaluate(r *Request) Decision {
	d := None
	for i := range p.statements {
		s := &p.statements[i]
		if d == Allow && s.allow || !s.applies(r) {
			continue
		}
		if !s.allow {
			return Deny
		}
		d = Allow
	}
	return d
}

// Allows reports whether a statement that allows something names actions of a service,
// whatever it allows of them.
func (p *Policy) Allows(service string) bool {
	prefix := service + ":"
	return slices.ContainsFunc(p.statements, func(s statement) bool {
		return s.allow && !s.notAction && slices.ContainsFunc(s.actions, func(a pattern) bool {
			return len(a.text) > len(prefix) && strings.EqualFold(a.text[:len(prefix)], prefix)
		})
	})
}

// MayAllow reports whether a statement could allow somebody an action, on some resource
// and under some condition.
func (p *Policy) MayAllow(who *Principal, action string) bool {
	return slices.ContainsFunc(p.statements, func(s statement) bool {
		return s.allow && (s.principals == nil || s.principals.matches(who, true)) && s.matchesAction(action)
	})
}

func (s *statement) applies(r *Request) bool {
	if s.principals != nil && !s.principals.matches(&r.Principal, s.allow) {
		return false
	}
	return s.matchesAction(r.Action) && s.matchesResource(r) && s.holds(r)
}

func (s *statement) matchesAction(action string) bool {
	found := slices.ContainsFunc(s.actions, func(p pattern) bool { return match(p.text, action, true) })
	return found != s.notAction
}

func (s *statement) matchesResource(r *Request) bool {
	for i := range s.resources {
		text, ok := s.resources[i].expand(r)
		if !ok {
			if s.notResource && s.allow {
				return false
			}
			continue
		}
		if match(text, r.Resource, false) {
			return !s.notResource
		}
	}
	return s.notResource
}

func (s *statement) holds(r *Request) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(r, s.allow) {
			return false
		}
	}
	return true
}

// Parse compiles a document. Its errors are *Error.
func Parse(text []byte, kind Kind) (*Policy, error) {
	if len(text) > MaxDocument {
		return nil, refuse("Policy exceeds the maximum allowed document size.")
	}
	doc, err := parseJSON(text)
	if errors.Is(err, errJSON) {
		return nil, refuse("Policies must be valid JSON and the first byte must be '{'")
	}
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	variables := false
	var statements *node
	for i := range doc.fields {
		f := &doc.fields[i]
		switch f.name {
		case "Version":
			if f.value.kind != isText || f.value.text != "2012-10-17" && f.value.text != "2008-10-17" {
				return nil, refuse("The policy must contain a valid version string")
			}
			variables = f.value.text == "2012-10-17"
		case "Id":
			if f.value.kind != isText {
				return nil, refuse("Invalid policy syntax.")
			}
		case "Statement":
			statements = &f.value
		default:
			return nil, refuse("Unknown field " + f.name)
		}
	}
	if statements == nil {
		return nil, refuse("Missing required field Statement")
	}
	list := statements.list
	if statements.kind == isObject {
		list = []node{*statements}
	}
	switch {
	case statements.kind != isObject && statements.kind != isList:
		return nil, refuse("Invalid policy syntax.")
	case len(list) == 0:
		return nil, refuse("Could not parse the policy: Statement is empty!")
	case len(list) > maxStatements:
		return nil, refuse("Policy has too many statements")
	}
	sids := map[string]bool{}
	for i := range list {
		s, err := parseStatement(&list[i], kind, variables)
		if err != nil {
			return nil, err
		}
		if s.sid != "" && sids[s.sid] {
			return nil, refuse("Statement IDs (SID) in a single policy must be unique.")
		}
		sids[s.sid] = true
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func parseStatement(n *node, kind Kind, variables bool) (s statement, err error) {
	if n.kind != isObject {
		return s, refuse("Invalid policy syntax.")
	}
	effect, action, resource := false, false, false
	for i := range n.fields {
		f := &n.fields[i]
		switch f.name {
		case "Sid":
			if f.value.kind != isText {
				return s, refuse("Invalid policy syntax.")
			}
			s.sid = f.value.text
		case "Effect":
			if f.value.kind != isText || f.value.text != "Allow" && f.value.text != "Deny" {
				return s, refuse("Invalid effect: " + f.value.text)
			}
			s.allow, effect = f.value.text == "Allow", true
		case "Principal", "NotPrincipal":
			if kind == Identity {
				return s, refuse("Policy document should not specify a principal.")
			}
			if s.principals != nil {
				return s, refuse("Policy statement must contain Principal or NotPrincipal, not both")
			}
			s.principals, err = parsePrincipals(&f.value, f.name == "NotPrincipal")
		case "Action", "NotAction":
			if action {
				return s, refuse("Policy statement must contain Action or NotAction, not both")
			}
			action, s.notAction = true, f.name == "NotAction"
			s.actions, err = parseActions(&f.value)
		case "Resource", "NotResource":
			if resource {
				return s, refuse("Policy statement must contain Resource or NotResource, not both")
			}
			resource, s.notResource = true, f.name == "NotResource"
			s.written, s.resources, err = parseResources(&f.value, variables)
		case "Condition":
			s.conditions, err = parseConditions(&f.value, variables)
		default:
			err = refuse("Unknown field " + f.name)
		}
		if err != nil {
			return s, err
		}
	}
	switch {
	case !effect:
		return s, refuse("Missing required field Effect")
	case kind == Resource && s.principals == nil:
		return s, refuse("Missing required field Principal")
	case !action || !resource:
		return s, refuse("Statement is missing required element")
	}
	return s, nil
}

func parseActions(n *node) (list []pattern, err error) {
	texts, ok := n.texts(false)
	if !ok || len(texts) == 0 {
		return nil, refuse("Policy has invalid action")
	}
	for _, s := range texts {
		service, name, ok := strings.Cut(s, ":")
		if s != "*" && (!ok || service == "" || name == "") {
			return nil, refuse("Policy has invalid action")
		}
		p, _ := compile(s, true, false)
		list = append(list, p)
	}
	return list, nil
}

func parseResources(n *node, variables bool) (written []string, list []pattern, err error) {
	written, ok := n.texts(false)
	if !ok || len(written) == 0 {
		return nil, nil, refuse("Policy has invalid resource")
	}
	for _, s := range written {
		p, ok := compile(s, true, variables)
		if !ok || s != "*" && (!strings.HasPrefix(s, "arn:") || strings.Count(s, ":") < 5) {
			return nil, nil, refuse("Policy has invalid resource")
		}
		list = append(list, p)
	}
	return written, list, nil
}
