package s3api

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
)

// node is an element of a document whose structure is checked against a shape.
type node struct {
	name string
	text string // of an element without elements in it
	kids []*node
}

// UnmarshalXML reads an element with all that is in it.
func (n *node) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	n.name = start.Name.Local
	var text strings.Builder
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			kid := new(node)
			if err := kid.UnmarshalXML(d, t); err != nil {
				return err
			}
			n.kids = append(n.kids, kid)
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if n.text = text.String(); len(n.kids) > 0 && strings.TrimSpace(n.text) != "" {
				return errXML
			}
			return nil
		}
	}
}

// all returns the elements of a name in n, which may be nil.
func (n *node) all(name string) (list []*node) {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.name == name {
			list = append(list, k)
		}
	}
	return list
}

// find returns the first element at a path, nil when there is none.
func (n *node) find(path ...string) *node {
	for _, name := range path {
		list := n.all(name)
		if len(list) == 0 {
			return nil
		}
		n = list[0]
	}
	return n
}

// value is the text of the first element at a path.
func (n *node) value(path ...string) string {
	if n = n.find(path...); n == nil {
		return ""
	}
	return n.text
}

// write writes what is in n.
func (n *node) write(x *xmlWriter) {
	if len(n.kids) == 0 {
		x.b = appendEscaped(x.b, n.text)
	}
	for _, k := range n.kids {
		if k.name == "Grantee" {
			k.writeGrantee(x)
			continue
		}
		x.open(k.name)
		k.write(x)
		x.close(k.name)
	}
}

// writeGrantee tells the type of a grantee, which is an attribute, by what is in it.
func (n *node) writeGrantee(x *xmlWriter) {
	kind := "CanonicalUser"
	switch {
	case n.find("URI") != nil:
		kind = "Group"
	case n.find("EmailAddress") != nil:
		kind = "AmazonCustomerByEmail"
	}
	x.b = append(x.b, `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="`+kind+`">`...)
	n.write(x)
	x.close("Grantee")
}

// shape is what an element may be.
type shape struct {
	name string
	// min and max are how often it may stand in the element around it.
	min, max int
	// text says which text it may have; nil: it has elements.
	text func(string) bool
	kids []shape
}

const many = 1 << 16 // as often as one likes

func one(name string, text func(string) bool) shape      { return shape{name, 1, 1, text, nil} }
func optional(name string, text func(string) bool) shape { return shape{name, 0, 1, text, nil} }

func within(name string, min, max int, kids ...shape) shape {
	return shape{name, min, max, nil, kids}
}

// Texts of elements.

func anyText(string) bool { return true }

func someText(s string) bool { return strings.TrimSpace(s) != "" }

func oneOf(values ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(values, strings.TrimSpace(s)) }
}

func number(s string) bool {
	_, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	return err == nil
}

// fits says whether n is of the shape. The white space between elements is
// dropped.
func (s *shape) fits(n *node) bool {
	if s.text != nil {
		return len(n.kids) == 0 && s.text(n.text)
	}
	if strings.TrimSpace(n.text) != "" {
		return false
	}
	n.text = ""
	seen := make(map[string]int, len(s.kids))
	for _, k := range n.kids {
		at := slices.IndexFunc(s.kids, func(s shape) bool { return s.name == k.name })
		if at < 0 || !s.kids[at].fits(k) {
			return false
		}
		seen[k.name]++
	}
	for i := range s.kids {
		if n := seen[s.kids[i].name]; n < s.kids[i].min || n > s.kids[i].max {
			return false
		}
	}
	return true
}

// readShape reads a request document of a shape.
func (q *request) readShape(s *shape, limit int64) (*node, error) {
	n := new(node)
	if err := q.readDocument(limit, s.name, n); err != nil {
		return nil, err
	}
	if !s.fits(n) {
		return nil, errMalformedXML()
	}
	return n, nil
}

// document writes a configuration document as it is kept.
func (n *node) document() *xmlWriter {
	var x xmlWriter
	x.root(n.name)
	n.write(&x)
	x.close(n.name)
	return &x
}
