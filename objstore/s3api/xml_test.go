package s3api

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
)

func TestXMLTextComesBack(t *testing.T) {
	for _, s := range []string{"", "plain", `<&>"'`, "a\nb\tc\rd", "\u00e9\U0001F600", "]]>"} {
		var x xmlWriter
		x.root("R")
		x.text("T", s)
		x.close("R")
		var doc struct{ T string }
		if err := xml.Unmarshal(x.b, &doc); err != nil || doc.T != s {
			t.Errorf("%q: %q, %v", s, doc.T, err)
		}
	}
	// What XML 1.0 cannot hold: a reference, which no parser takes for another name.
	if got := string(appendEscaped(nil, "a\x01b\x7f\xffc")); got != "a&#x1;b&#x7f;\uFFFDc" {
		t.Errorf("%q", got)
	}
}

func decodeString(root, s string, v any) error { return decodeXML(strings.NewReader(s), root, v) }

func TestRequestXMLIsTakenStrictly(t *testing.T) {
	good := []string{
		`<Delete><Object><Key>a</Key></Object></Delete>`,
		`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet><Object><Key>a&amp;&#98;</Key><VersionId>null</VersionId></Object></Delete>` + "\n",
		`<!-- c --><Delete><!-- c --><Object><Key><![CDATA[<k>]]></Key></Object></Delete><!-- c -->`,
	}
	for _, s := range good {
		var doc deleteDocument
		if err := decodeString("Delete", s, &doc); err != nil || len(doc.Object) != 1 || doc.Object[0].Key == "" {
			t.Errorf("%s: %+v, %v", s, doc, err)
		}
	}
	deep := strings.Repeat("<a>", maxXMLDepth+1) + strings.Repeat("</a>", maxXMLDepth+1)
	for _, s := range []string{
		``, `x`, `<Delete>`, `<Delete></Other>`, `<Other></Other>`,
		`<Delete></Delete>trailing`, `<Delete></Delete><Delete></Delete>`,
		`<Delete><Unknown/></Delete>`, `<Delete><Object><Key>a</Key><Unknown>1</Unknown></Object></Delete>`,
		`<!DOCTYPE x [<!ENTITY e "boom">]><Delete><Object><Key>&e;</Key></Object></Delete>`,
		`<Delete><Object><Key>&nbsp;</Key></Object></Delete>`,
		`<Delete><Object><Key>&#1;</Key></Object></Delete>`,
		`<?xml version="1.0" encoding="utf-16"?><Delete></Delete>`,
		`<?php x?><Delete></Delete>`,
		`<Delete>` + deep + `</Delete>`,
		`<Delete><Object><Key>` + strings.Repeat("k", maxXMLText+1) + `</Key></Object></Delete>`,
	} {
		var doc deleteDocument
		if err := decodeString("Delete", s, &doc); err == nil {
			t.Errorf("%.80s: %+v", s, doc)
		}
	}
}

func FuzzRequestXML(f *testing.F) {
	f.Add([]byte(`<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>"x"</ETag></Object></Delete>`))
	f.Add([]byte(`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`))
	f.Add([]byte(`<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d deleteDocument
		_ = decodeXML(bytes.NewReader(b), "Delete", &d)
		for i := range d.Object {
			if len(d.Object[i].Key) > maxXMLText {
				t.Fatal("a key over the bound")
			}
		}
		var c completeDocument
		_ = decodeXML(bytes.NewReader(b), "CompleteMultipartUpload", &c)
	})
}

func TestXMLBodyIsBounded(t *testing.T) {
	for _, c := range []struct {
		size  int
		limit int64
		over  bool
	}{{99, 100, false}, {100, 100, false}, {101, 100, true}, {0, 0, false}} {
		l := &limitedReader{src: strings.NewReader(strings.Repeat("x", c.size)), left: c.limit}
		var b bytes.Buffer
		_, err := b.ReadFrom(l)
		if l.exceeded != c.over || (err != nil) != c.over {
			t.Errorf("%d of %d: %v, %v", c.size, c.limit, l.exceeded, err)
		}
	}
}

func TestErrorsHaveQuotesAsTheyAre(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	a := d.do("PUT", "/bucket?cors", corsXML(elements("AllowedMethod", "GET", "AllowedOrigin", "*-*&lt;*&amp;")))
	if a.status != 400 || element(a.body, "Message") != `AllowedOrigin "*-*&lt;*&amp;" can not have more than one wildcard.` {
		t.Error(a)
	}
	refused := presign("bucket", "k", nil, conditions{[]string{"eq", "$acl", "private"}})
	if a := d.post("bucket", refused); !strings.Contains(a.body, `Policy Condition failed: ["eq", "$acl", "private"]</Message>`) {
		t.Error(a)
	}
}
