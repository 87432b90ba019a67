package iam

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
)

// compilePolicies compiles what a user may do. KindMalformedPolicy.
func compilePolicies(list []objstore.UserPolicy) ([]*policy.Policy, error) {
	const op = "policy"
	if len(list) > objstore.MaxUserPolicies {
		return nil, objstore.E(objstore.KindMalformedPolicy, op, "", fmt.Sprintf("a user has at most %d policies", objstore.MaxUserPolicies))
	}
	compiled := make([]*policy.Policy, len(list))
	for i := range list {
		text, err := PolicyText(list[i])
		if err != nil {
			return nil, err
		}
		if compiled[i], err = policy.Parse(text, policy.Identity); err != nil {
			return nil, malformedPolicy(op, list[i].Name, err)
		}
	}
	return compiled, nil
}

// malformedPolicy keeps the sentence of the policy's error, which is S3's.
func malformedPolicy(op, what string, err error) error {
	var e *policy.Error
	if errors.As(err, &e) {
		return objstore.E(objstore.KindMalformedPolicy, op, what, e.Message)
	}
	return objstore.Wrap(objstore.KindInternal, op, what, err)
}

// PolicyText is the document of a user's policy. KindMalformedPolicy: it has
// none, and there is no ready-made one of its name.
func PolicyText(p objstore.UserPolicy) ([]byte, error) {
	if p.Document != "" {
		return []byte(strings.TrimSpace(p.Document)), nil
	}
	for _, b := range p.Buckets {
		if !objstore.ValidBucketName(b) {
			return nil, objstore.E(objstore.KindMalformedPolicy, "policy", p.Name, fmt.Sprintf("%q is no name of a bucket", b))
		}
	}
	text, ok := policy.ReadyMade(p.Name, p.Buckets...)
	if !ok {
		return nil, objstore.E(objstore.KindMalformedPolicy, "policy", p.Name,
			"there is no such policy; ready-made are "+strings.Join(policy.ReadyMadeNames(), ", "))
	}
	return text, nil
}

// UnknownKeys are the condition keys of a user's policy that no request has.
// KindMalformedPolicy.
func UnknownKeys(p objstore.UserPolicy) ([]string, error) {
	list, err := compilePolicies([]objstore.UserPolicy{p})
	if err != nil {
		return nil, err
	}
	return list[0].UnknownKeys(), nil
}
