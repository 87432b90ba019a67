package policy

import (
	"maps"
	"slices"
	"strings"
)

// hadKeys are the condition keys that requests can have, beside those of S3; what ends
// in a slash goes on with the name of a tag. They are told in docs/access.md.
var hadKeys = map[string]bool{
	"aws:username": true, "aws:userid": true, "aws:principalarn": true, "aws:principalaccount": true, "aws:principaltype": true,
	"aws:resourceaccount": true, "aws:requestedregion": true, "aws:securetransport": true, "aws:sourceip": true,
	"aws:useragent": true, "aws:referer": true, "aws:currenttime": true, "aws:epochtime": true, "aws:tokenissuetime": true,
	"aws:multifactorauthpresent": true, "aws:viaawsservice": true, "aws:principalisawsservice": true,
	"aws:requesttag/": true, "aws:tagkeys": true,
	"kms:viaservice": true, "kms:calleraccount": true, "kms:encryptioncontext:aws:s3:arn": true,
}

// UnknownKeys returns the condition keys, those of variables among them, that no request
// has, in lower case and in order: misspelt ones, and those of what is not here. They are
// no mistake. AWS takes a policy with them and decides as for any key that is missing;
// only its policy validation calls one of "aws:" that does not exist an error ("IAM
// Access Analyzer policy check reference": invalid global condition key, IAM user guide).
// But a Deny that asks for such a key may never deny.
func (p *Policy) UnknownKeys() []string {
	unknown := map[string]bool{}
	see := func(key string) {
		if !known(key) {
			unknown[key] = true
		}
	}
	variables := func(l *pattern) {
		for i := range l.parts {
			if key := l.parts[i].variable; key != "" {
				see(key)
			}
		}
	}
	for i := range p.statements {
		s := &p.statements[i]
		for j := range s.resources {
			variables(&s.resources[j])
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			see(c.key)
			for k := range c.operands {
				variables(&c.operands[k].pattern)
			}
		}
	}
	return slices.Sorted(maps.Keys(unknown))
}

func known(key string) bool {
	if strings.HasPrefix(key, "s3:x-amz-") { // any header
		return true
	}
	if tag := strings.IndexByte(key, '/'); tag >= 0 {
		key = key[:tag+1]
	}
	return hadKeys[key] || conditionKeys[key] != nil
}
