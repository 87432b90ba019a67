package s3api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// postPolicy is the policy document of a form ("POST Policy" in the S3 API
// reference): what was signed, and what every field of the form is held to.
type postPolicy struct {
	expiration time.Time
	conditions []postCondition
	min, max   int64 // of the file; max is -1 when nothing bounds it
}

// postCondition is an "eq" or "starts-with" of one field. A nil match never
// holds: something was asked for that no form can have.
type postCondition struct {
	field string // lower case, without the dollar sign
	match func(value string) bool
	text  string // as S3 repeats it
}

func errPolicyDocument(why string) *apiError {
	e := newError(http.StatusBadRequest, "InvalidPolicyDocument", "Invalid Policy: "+why)
	e.cause = errBadPolicy
	return e
}

// errNotInPolicy refuses a form. A condition can hold a session token, so the
// log does not get it.
func errNotInPolicy(why string) *apiError {
	e := errAccessDenied("Invalid according to Policy: " + why)
	e.cause = errBadPolicy
	return e
}

var errBadPolicy = errors.New("the form does not meet its policy, or that is malformed")

// parsePostPolicy reads a policy as it stands in a form, in base64. Names are
// those of the document exactly; operators and fields are in any case.
func parsePostPolicy(text string) (*postPolicy, error) {
	doc, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errPolicyDocument("Invalid Base64 Encoding.")
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(dollars(doc), &names); err != nil {
		return nil, errPolicyDocument("Invalid JSON.")
	}
	p := &postPolicy{max: -1}
	var expiration *string
	if raw, ok := names["expiration"]; !ok || json.Unmarshal(raw, &expiration) != nil || expiration == nil {
		return nil, errPolicyDocument("Policy missing expiration.")
	}
	if p.expiration, err = time.Parse("2006-01-02T15:04:05Z", *expiration); err != nil { // takes fractions too
		return nil, errPolicyDocument("Invalid 'expiration' value: '" + *expiration + "'")
	}
	var conditions []json.RawMessage
	if raw, ok := names["conditions"]; !ok || json.Unmarshal(raw, &conditions) != nil || conditions == nil {
		return nil, errPolicyDocument("Policy missing conditions.")
	}
	for _, raw := range conditions {
		if err := p.add(raw); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// dollars replaces the escapes that S3 documents and JSON does not have: \$ and
// \v.
func dollars(doc []byte) []byte {
	if !bytes.Contains(doc, []byte(`\$`)) && !bytes.Contains(doc, []byte(`\v`)) {
		return doc
	}
	b := make([]byte, 0, len(doc)+16)
	for i := 0; i < len(doc); i++ {
		if doc[i] != '\\' || i+1 == len(doc) {
			b = append(b, doc[i])
			continue
		}
		i++
		switch doc[i] {
		case '$':
			b = append(b, '$')
		case 'v':
			b = append(b, `\u000b`...)
		default:
			b = append(b, '\\', doc[i])
		}
	}
	return b
}

func (p *postPolicy) add(raw json.RawMessage) error {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '{' {
		return p.addSimple(raw)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return errPolicyDocument("Invalid Condition: it must be an object or a list.")
	}
	if len(list) != 3 {
		return errPolicyDocument("Invalid Condition: wrong number of arguments.")
	}
	var operator string
	if json.Unmarshal(list[0], &operator) != nil {
		return errPolicyDocument("Invalid Condition: the operator must be a string.")
	}
	if strings.EqualFold(operator, "content-length-range") {
		return p.addRange(list)
	}
	var name, value string
	if json.Unmarshal(list[1], &name) != nil || json.Unmarshal(list[2], &value) != nil {
		return errPolicyDocument("Invalid Condition: field and value must be strings.")
	}
	c := postCondition{text: conditionText(list)}
	field, dollar := strings.CutPrefix(name, "$")
	c.field = strings.ToLower(field)
	switch {
	case strings.EqualFold(operator, "eq"):
		c.match = func(v string) bool { return v == value }
	case strings.EqualFold(operator, "starts-with"):
		c.match = startsWith(c.field, value)
	default:
		return errPolicyDocument("Invalid Condition: unknown operation '" + operator + "'.")
	}
	if !dollar {
		c.match = nil
	}
	p.conditions = append(p.conditions, c)
	return nil
}

// startsWith is the operator of that name. A Content-Type can be a list, as
// browsers send it for several files: then each one is held to it.
func startsWith(field, prefix string) func(string) bool {
	if field != "content-type" {
		return func(v string) bool { return strings.HasPrefix(v, prefix) }
	}
	return func(v string) bool {
		for part := range strings.SplitSeq(v, ",") {
			if !strings.HasPrefix(strings.TrimSpace(part), prefix) {
				return false
			}
		}
		return true
	}
}

// addSimple adds an exact match, {"field": "value"}.
func (p *postPolicy) addSimple(raw json.RawMessage) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil || len(m) != 1 {
		return errPolicyDocument("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
	}
	for name, v := range m {
		var value *string
		if json.Unmarshal(v, &value) != nil || value == nil {
			return errPolicyDocument("Invalid Simple-Condition: value must be a string.")
		}
		p.conditions = append(p.conditions, postCondition{
			field: strings.ToLower(name),
			match: func(v string) bool { return v == *value },
			text:  `["eq", ` + quoteJSON("$"+name) + ", " + quoteJSON(*value) + "]",
		})
	}
	return nil
}

// addRange bounds the length of the file. The numbers may be strings.
func (p *postPolicy) addRange(list []json.RawMessage) error {
	var bounds [2]int64
	for i, raw := range list[1:] {
		n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
		if err != nil {
			p.conditions = append(p.conditions, postCondition{text: conditionText(list)})
			return nil
		}
		bounds[i] = n
	}
	if bounds[0] < 0 || bounds[1] < bounds[0] {
		return errPolicyDocument("Invalid content-length-range: it must be two lengths in ascending order.")
	}
	p.min = max(p.min, bounds[0])
	if p.max < 0 || bounds[1] < p.max {
		p.max = bounds[1]
	}
	return nil
}

// conditionText is a condition as S3 repeats it.
func conditionText(list []json.RawMessage) string {
	parts := make([]string, len(list))
	for i, raw := range list {
		parts[i] = string(raw)
		var s string
		if json.Unmarshal(raw, &s) == nil {
			parts[i] = quoteJSON(s)
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func quoteJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// check holds a form to the policy. S3 asks for the bucket too, which is in the
// form or, here, always stands for the one that the form was sent to.
func (p *postPolicy) check(f *form, bucket string, now time.Time) error {
	if now.After(p.expiration) {
		return errNotInPolicy("Policy expired.")
	}
	covered := map[string]bool{}
	for _, c := range p.conditions {
		value, ok := f.values[c.field]
		if c.field == "bucket" {
			value, ok = bucket, true
		}
		if c.match == nil || !ok || !c.match(value) {
			return errNotInPolicy("Policy Condition failed: " + c.text)
		}
		covered[c.field] = true
	}
	var extra []string
	for _, name := range f.names {
		if lower := strings.ToLower(name); !covered[lower] && !outsidePolicy(lower) {
			extra = append(extra, name)
		}
	}
	if !covered["bucket"] && f.values["bucket"] == "" {
		extra = append(extra, "bucket")
	}
	if extra != nil {
		return errNotInPolicy("Extra input fields: " + strings.Join(extra, ", "))
	}
	return nil
}

// outsidePolicy says whether a field needs no condition.
func outsidePolicy(lower string) bool {
	switch lower {
	case "policy", "x-amz-signature", "awsaccesskeyid", "signature", "file":
		return true
	}
	return strings.HasPrefix(lower, "x-ignore-")
}
