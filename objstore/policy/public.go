package policy

import "strings"

// fixedKeys are the condition keys that make a statement about everyone not
// public, if they are bound to fixed values ("The meaning of public", S3 user
// guide). aws:ViaAWSService is not among them: no service asks on anybody's behalf
// here, so that it is false for everyone.
var fixedKeys = map[string]bool{
	"aws:principalorgid": true, "aws:principalorgpaths": true, "aws:principalarn": true, "aws:principalaccount": true,
	"aws:sourcearn": true, "aws:sourceaccount": true, "aws:sourceowner": true, "aws:sourcevpc": true, "aws:sourcevpce": true,
	"aws:sourceorgid": true, "aws:sourceorgpaths": true, "aws:userid": true, "aws:username": true, "aws:sourceip": true,
	"s3:x-amz-server-side-encryption-aws-kms-key-id": true,
	"s3:dataaccesspointaccount":                      true, "s3:dataaccesspointarn": true,
}

// widestFixed are the shortest prefixes of networks that are no public access,
// in bits: those of S3's definition for IPv4 and IPv6.
const widestFixed4, widestFixed6 = 8, 32

// Public reports whether a policy of a bucket allows anything to everyone,
// by S3's definition, which GetBucketPolicyStatus answers and the public access
// block refuses.
func (p *Policy) Public() bool {
	for i := range p.statements {
		s := &p.statements[i]
		if s.allow && s.principals != nil && (s.principals.anyone || s.principals.not) && !s.narrowed() {
			return true
		}
	}
	return false
}

// narrowed reports whether a condition binds the statement to fixed values.
func (s *statement) narrowed() bool {
	for i := range s.conditions {
		c := &s.conditions[i]
		if fixedKeys[c.key] && !c.op.not && !c.ifExists && c.set != allOf && c.fixed() {
			return true
		}
	}
	return false
}

func (c *condition) fixed() bool {
	for i := range c.operands {
		o := &c.operands[i]
		switch c.op.family {
		case texts, stringsFold, stringsLike:
			if c.key == "aws:userid" && strings.EqualFold(o.pattern.text, "anonymous") {
				return false // which is the id of whoever has none
			}
			if !o.pattern.fixed() {
				// The id of a role's session is the role's and any name.
				role, ok := strings.CutSuffix(o.pattern.text, ":"+string([]byte{anyRun}))
				if c.key != "aws:userid" || !ok || o.pattern.parts != nil || strings.ContainsRune(role, anyRun) {
					return false
				}
			}
		case arns:
			if !o.pattern.fixed() {
				return false
			}
		case addresses:
			widest := widestFixed4
			if o.prefix.Addr().Is6() {
				widest = widestFixed6
			}
			if o.prefix.Bits() < widest {
				return false
			}
		default:
			return false
		}
	}
	return true
}
