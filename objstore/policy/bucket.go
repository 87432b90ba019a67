package policy

import (
	"slices"
	"strings"
)

// ParseBucket compiles the policy of a bucket and holds it to what S3 holds it
// to: its actions are S3's and about what its resources are, its resources lie
// in the bucket, its condition keys exist. Its errors are *Error.
func ParseBucket(text []byte, bucket string) (*Policy, error) {
	p, err := Parse(text, Resource)
	if err != nil {
		return nil, err
	}
	for i := range p.statements {
		if err := p.statements[i].checkBucket(bucket); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (s *statement) checkBucket(bucket string) error {
	var about scope
	for i := range s.written {
		a, ok := resourceScope(s.written[i], bucket)
		if !ok {
			return refuse("Policy has invalid resource")
		}
		about |= a
	}
	for _, a := range s.actions {
		var of scope
		for name, on := range actions {
			if match(a.text, name, true) {
				of |= on
			}
		}
		switch {
		case of == 0:
			return refuse("Policy has invalid action")
		case !s.notAction && !s.notResource && of&about == 0:
			return refuse("Action does not apply to any resource(s) in statement")
		}
	}
	return s.checkConditions(about)
}

// checkConditions refuses condition keys that do not exist, or that requests for one of
// the statement's actions never have.
func (s *statement) checkConditions(about scope) error {
	var asked []*applies
	for i := range s.conditions {
		a, err := conditionKey(s.conditions[i].key)
		if err != nil {
			return err
		}
		if a != nil && !slices.Contains(asked, a) {
			asked = append(asked, a)
		}
	}
	if s.notAction {
		return nil
	}
	for _, action := range s.actions {
		for _, a := range asked {
			if !a.toSome(action.text, about) {
				return refuse("Conditions do not apply to combination of actions and resources in statement")
			}
		}
	}
	return nil
}

// resourceScope says what of a bucket a resource is about; ok is false if it
// lies outside. A star alone is no resource of S3's.
func resourceScope(resource, bucket string) (about scope, ok bool) {
	p := strings.SplitN(resource, ":", 6)
	if len(p) != 6 || p[1] != "aws" || p[2] != "s3" || p[3] != "" || p[4] != "" {
		return 0, false
	}
	name, _, object := strings.Cut(p[5], "/")
	c, ok := compile(name, true, true)
	if !ok || c.hasVariables() || !match(c.text, bucket, false) {
		// A star in the bucket's part can also stand for a slash and a key.
		if star := strings.IndexByte(name, '*'); star < 0 || !strings.HasPrefix(bucket, name[:star]) {
			return 0, false
		}
		return onObject, true
	}
	switch {
	case object:
		return onObject, true
	case strings.ContainsAny(name, "*"):
		return onBucket | onObject, true
	}
	return onBucket, true
}
