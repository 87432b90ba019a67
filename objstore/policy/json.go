package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a document: object, list of statements,
// statement, Condition, operator, list of values.
const maxDepth = 6

// A node is a JSON value. Numbers and booleans are their text, since the
// language compares texts with them.
type node struct {
	kind   nodeKind
	text   string
	list   []node
	fields []member // in order; names are unique
	at     span     // of a text: where it stands in the document, quotes included
}

// A span is from its first byte to before its last.
type span struct{ from, to int }

type nodeKind uint8

const (
	isText nodeKind = iota
	isNumber
	isBool
	isList
	isObject
)

type member struct {
	name  string
	value node
}

var errJSON = errors.New("not JSON")

// parseJSON reads one object and nothing behind it. encoding/json alone takes
// what is twice in an object, and any depth.
func parseJSON(text []byte) (node, error) {
	if !utf8.Valid(text) || len(text) == 0 || text[0] != '{' {
		return node{}, errJSON
	}
	d := &decoder{json.NewDecoder(bytes.NewReader(text)), text}
	d.UseNumber()
	n, err := parseNode(d, 0)
	if err != nil {
		return node{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return node{}, errJSON
	}
	return n, nil
}

// decoder knows the document that it decodes.
type decoder struct {
	*json.Decoder
	text []byte
}

// span is where the next token stands, once it was read from the offset before.
func (d *decoder) span(before int64) span {
	from, to := int(before), int(d.InputOffset())
	for from < to && bytes.IndexByte([]byte(" \t\r\n,:"), d.text[from]) >= 0 {
		from++
	}
	return span{from, to}
}

func parseNode(d *decoder, depth int) (node, error) {
	before := d.InputOffset()
	t, err := d.Token()
	if err != nil {
		return node{}, errJSON
	}
	switch t := t.(type) {
	case string:
		return node{kind: isText, text: t, at: d.span(before)}, nil
	case json.Number:
		return node{kind: isNumber, text: string(t)}, nil
	case bool:
		text := "false"
		if t {
			text = "true"
		}
		return node{kind: isBool, text: text}, nil
	case json.Delim:
		if depth >= maxDepth {
			return node{}, refuse("Policy document is nested too deeply")
		}
		if t == '[' {
			return parseList(d, depth+1)
		}
		return parseObject(d, depth+1)
	}
	return node{}, refuse("Policy document has a null value")
}

func parseList(d *decoder, depth int) (node, error) {
	n := node{kind: isList}
	for d.More() {
		v, err := parseNode(d, depth)
		if err != nil {
			return node{}, err
		}
		n.list = append(n.list, v)
	}
	_, err := d.Token()
	if err != nil {
		return node{}, errJSON
	}
	return n, nil
}

func parseObject(d *decoder, depth int) (node, error) {
	n := node{kind: isObject}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return node{}, errJSON
		}
		if seen[name] {
			return node{}, refuse("Duplicate field " + name)
		}
		seen[name] = true
		v, err := parseNode(d, depth)
		if err != nil {
			return node{}, err
		}
		n.fields = append(n.fields, member{name, v})
	}
	if _, err := d.Token(); err != nil {
		return node{}, errJSON
	}
	return n, nil
}

// texts are the values of a node that is one value or a list of them. ok is
// false if it is anything else. With scalars numbers and booleans count, too.
func (n *node) texts(scalars bool) (list []string, ok bool) {
	one := func(n *node) bool {
		if n.kind == isText || scalars && (n.kind == isNumber || n.kind == isBool) {
			list = append(list, n.text)
			return true
		}
		return false
	}
	if n.kind != isList {
		return list, one(n)
	}
	for i := range n.list {
		if !one(&n.list[i]) {
			return nil, false
		}
	}
	return list, true
}
