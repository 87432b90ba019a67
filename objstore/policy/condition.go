package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// family is what a condition operator compares.
type family uint8

const (
	texts family = iota
	stringsFold
	stringsLike
	numbers
	dates
	bools
	binaries
	addresses
	arns
	nulls
)

// operator is one row of the table of operators.
type operator struct {
	family family
	not    bool // the value must match none
	order  order
}

type order uint8

const (
	equal order = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// operators are those of "IAM JSON policy elements: Condition operators".
var operators = map[string]operator{
	"StringEquals":              {family: texts},
	"StringNotEquals":           {family: texts, not: true},
	"StringEqualsIgnoreCase":    {family: stringsFold},
	"StringNotEqualsIgnoreCase": {family: stringsFold, not: true},
	"StringLike":                {family: stringsLike},
	"StringNotLike":             {family: stringsLike, not: true},
	"NumericEquals":             {family: numbers},
	"NumericNotEquals":          {family: numbers, not: true},
	"NumericLessThan":           {family: numbers, order: less},
	"NumericLessThanEquals":     {family: numbers, order: lessOrEqual},
	"NumericGreaterThan":        {family: numbers, order: greater},
	"NumericGreaterThanEquals":  {family: numbers, order: greaterOrEqual},
	"DateEquals":                {family: dates},
	"DateNotEquals":             {family: dates, not: true},
	"DateLessThan":              {family: dates, order: less},
	"DateLessThanEquals":        {family: dates, order: lessOrEqual},
	"DateGreaterThan":           {family: dates, order: greater},
	"DateGreaterThanEquals":     {family: dates, order: greaterOrEqual},
	"Bool":                      {family: bools},
	"BinaryEquals":              {family: binaries},
	"IpAddress":                 {family: addresses},
	"NotIpAddress":              {family: addresses, not: true},
	"ArnEquals":                 {family: arns},
	"ArnLike":                   {family: arns},
	"ArnNotEquals":              {family: arns, not: true},
	"ArnNotLike":                {family: arns, not: true},
	"Null":                      {family: nulls},
}

// quantifier is the set form of an operator.
type quantifier uint8

const (
	single quantifier = iota
	allOf             // ForAllValues:
	anyOf             // ForAnyValue:
)

// condition is one key under one operator.
type condition struct {
	op       operator
	set      quantifier
	ifExists bool
	key      string // lower case
	operands []operand
}

// operand is a value of a policy, compiled for its family.
type operand struct {
	pattern pattern   // strings
	arn     []pattern // arns: the six components, of one that has variables pattern alone
	number  float64
	date    time.Time
	bytes   []byte
	prefix  netip.Prefix
	truth   bool
}

func parseConditions(n *node, variables bool) ([]condition, error) {
	if n.kind != isObject {
		return nil, refuse("Invalid Condition type")
	}
	var list []condition
	for i := range n.fields {
		f := &n.fields[i]
		c, ok := parseOperator(f.name)
		if !ok {
			return nil, refuse("Invalid Condition type : " + f.name)
		}
		if f.value.kind != isObject {
			return nil, refuse("Invalid policy syntax.")
		}
		seen := map[string]bool{}
		for j := range f.value.fields {
			k := &f.value.fields[j]
			c := c
			c.key = strings.ToLower(k.name)
			if service, key, ok := strings.Cut(c.key, ":"); !ok || service == "" || key == "" || seen[c.key] {
				return nil, refuse("Policy has an invalid condition key")
			}
			seen[c.key] = true
			values, ok := k.value.texts(true)
			if !ok {
				return nil, refuse("Invalid policy syntax.")
			}
			for _, v := range values {
				if c.key == "s3:x-amz-copy-source" {
					v = strings.TrimPrefix(v, "/") // which the header may have, and its value here has not
				}
				o, ok := c.op.operand(v, variables)
				switch {
				case !ok && c.op.family == addresses:
					return nil, refuse("Invalid IP address in Conditions")
				case !ok:
					return nil, refuse("Invalid value for the condition " + f.name + " of " + k.name)
				}
				c.operands = append(c.operands, o)
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func parseOperator(name string) (c condition, ok bool) {
	if s, found := strings.CutPrefix(name, "ForAllValues:"); found {
		name, c.set = s, allOf
	} else if s, found := strings.CutPrefix(name, "ForAnyValue:"); found {
		name, c.set = s, anyOf
	}
	if s, found := strings.CutSuffix(name, "IfExists"); found {
		name, c.ifExists = s, true
	}
	c.op, ok = operators[name]
	if c.op.family == nulls && (c.ifExists || c.set != single) {
		ok = false
	}
	return c, ok
}

// operand compiles a value; ok is false for one that could never be compared.
func (op operator) operand(v string, variables bool) (o operand, ok bool) {
	switch op.family {
	case texts, stringsFold:
		o.pattern, ok = compile(v, false, variables)
	case stringsLike:
		o.pattern, ok = compile(v, true, variables)
	case numbers:
		o.number, ok = parseNumber(v)
	case dates:
		o.date, ok = parseDate(v)
	case bools, nulls:
		o.truth, ok = parseBool(v)
	case binaries:
		var err error
		o.bytes, err = base64.StdEncoding.DecodeString(v)
		ok = err == nil
	case addresses:
		o.prefix, ok = parsePrefix(v)
	case arns:
		if o.pattern, ok = compile(v, true, variables); !ok {
			return o, false
		}
		if !o.pattern.hasVariables() {
			o.arn, ok = splitARN(o.pattern.text)
		}
	}
	return o, ok
}

// holds reports whether the condition is met.
func (c *condition) holds(r *Request, allow bool) bool {
	values, exists := r.value(c.key)
	if c.op.family == nulls {
		for i := range c.operands {
			if c.operands[i].truth == !exists {
				return true
			}
		}
		return false
	}
	if !exists && c.ifExists {
		return true
	}
	switch c.set {
	case allOf:
		for _, v := range values {
			if !c.passes(v, r, allow) {
				return false
			}
		}
		return true // of none, too
	case anyOf:
		for _, v := range values {
			if c.passes(v, r, allow) {
				return true
			}
		}
		return false
	}
	if !exists {
		return c.op.not
	}
	// Several values of a key that has one: an equality takes any of them, an
	// inequality wants it of all.
	for _, v := range values {
		if c.passes(v, r, allow) != c.op.not {
			return !c.op.not
		}
	}
	return c.op.not
}

// passes compares one value of the request with those of the policy, of which
// it must match one, or none where the operator negates.
func (c *condition) passes(v string, r *Request, allow bool) bool {
	for i := range c.operands {
		matched, resolved := c.op.matches(&c.operands[i], v, r)
		if !resolved && c.op.not && allow {
			return false
		}
		if matched {
			return !c.op.not
		}
	}
	return c.op.not
}

// matches compares one value with one operand. resolved is false if a variable
// of the operand has no value.
func (op operator) matches(o *operand, v string, r *Request) (matched, resolved bool) {
	switch op.family {
	case texts:
		text, ok := o.pattern.expand(r)
		return ok && text == v, ok
	case stringsFold:
		text, ok := o.pattern.expand(r)
		return ok && strings.EqualFold(text, v), ok
	case stringsLike:
		text, ok := o.pattern.expand(r)
		return ok && match(text, v, false), ok
	case arns:
		return o.matchesARN(v, r)
	case numbers:
		n, ok := parseNumber(v)
		return ok && op.order.holds(compareNumbers(n, o.number)), true
	case dates:
		t, ok := parseDate(v)
		return ok && op.order.holds(t.Compare(o.date)), true
	case bools:
		b, ok := parseBool(v)
		return ok && b == o.truth, true
	case binaries:
		b, err := base64.StdEncoding.DecodeString(v)
		return err == nil && bytes.Equal(b, o.bytes), true
	case addresses:
		a, err := netip.ParseAddr(v)
		return err == nil && o.prefix.Contains(a.Unmap().WithZone("")), true
	}
	return false, true
}

func (o order) holds(c int) bool {
	switch o {
	case less:
		return c < 0
	case lessOrEqual:
		return c <= 0
	case greater:
		return c > 0
	case greaterOrEqual:
		return c >= 0
	}
	return c == 0
}

func compareNumbers(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// parseNumber takes decimal integers and fractions.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 32 || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// parseDate takes the forms of W3C's note on ISO 8601, and seconds since 1970.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n < 1<<40 {
		return time.Unix(n, 0), true
	}
	return time.Time{}, false
}

func parseBool(s string) (truth, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

// parsePrefix takes a network, or one address. Those of IPv4 within IPv6 are IPv4, as
// the addresses are that they are compared with.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if mapped := p.Bits() - 96; p.Addr().Is4In6() && mapped >= 0 {
		p = netip.PrefixFrom(p.Addr().Unmap(), mapped)
	}
	return p.Masked(), err == nil
}

// splitARN takes a compiled ARN apart: six components, of which the last may
// have colons. A single star is any ARN.
func splitARN(text string) ([]pattern, bool) {
	if text == string([]byte{anyRun}) {
		return nil, true
	}
	p := strings.SplitN(text, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return nil, false
	}
	list := make([]pattern, 6)
	for i := range p {
		list[i].text = p[i]
	}
	return list, true
}

// matchesARN compares component by component: a star does not reach into the
// next one.
func (o *operand) matchesARN(v string, r *Request) (matched, resolved bool) {
	components := o.arn
	if o.pattern.hasVariables() {
		text, ok := o.pattern.expand(r)
		if !ok {
			return false, false
		}
		if components, ok = splitARN(text); !ok {
			return false, true
		}
	}
	p := strings.SplitN(v, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return false, true
	}
	for i := range components {
		if !match(components[i].text, p[i], false) {
			return false, true
		}
	}
	return true, true
}
