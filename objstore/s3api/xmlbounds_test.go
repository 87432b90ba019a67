package s3api

import (
	"runtime"
	"strings"
	"testing"
)

// TestDocumentsTakeLittleMemory: what a document of the permitted length makes the
// server allocate is bounded. DeleteObjects reads one of whoever asks.
func TestDocumentsTakeLittleMemory(t *testing.T) {
	const most = 48 << 20
	for what, text := range map[string]string{
		"elements":         "<Delete>" + strings.Repeat("<Object/>", maxDeleteBytes/9-2) + "</Delete>",
		"objects":          "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", maxDeleteBytes/29-1) + "</Delete>",
		"unknown elements": "<Delete><Object>" + strings.Repeat("<K/>", maxDeleteBytes/4-10) + "</Object></Delete>",
		"attributes":       "<Delete><Object" + strings.Repeat(` a=""`, maxDeleteBytes/5-10) + "/></Delete>",
		"namespaces":       "<Delete><Object" + strings.Repeat(` xmlns:a="x"`, maxDeleteBytes/12-10) + "/></Delete>",
		"a name":           "<Delete><" + strings.Repeat("a", maxDeleteBytes-30) + "/></Delete>",
		"a comment":        "<Delete><!--" + strings.Repeat("a", maxDeleteBytes-30) + "--></Delete>",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var doc deleteDocument
		err := decodeXML(strings.NewReader(text), "Delete", &doc)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s: %d MiB for a document of %d MiB", what, n>>20, len(text)>>20)
		}
		if err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// TestLongestDocuments: what S3 takes is not in the way of those bounds.
func TestLongestDocuments(t *testing.T) {
	var complete completeDocument
	part := "<Part><PartNumber>10000</PartNumber><ETag>&quot;" + strings.Repeat("0", 32) + "&quot;</ETag><ChecksumSHA256>" + strings.Repeat("A", 44) + "</ChecksumSHA256></Part>"
	if err := decodeXML(strings.NewReader("<CompleteMultipartUpload>"+strings.Repeat(part, 10_000)+"</CompleteMultipartUpload>"), "CompleteMultipartUpload", &complete); err != nil || len(complete.Part) != 10_000 {
		t.Error(len(complete.Part), err)
	}
	var doc deleteDocument
	key := strings.Repeat("&#x6b;", 1024)
	object := "<Object><Key>" + key + "</Key><VersionId>" + strings.Repeat("v", 32) + "</VersionId><ETag>e</ETag></Object>"
	if err := decodeXML(strings.NewReader("<Delete>"+strings.Repeat(object, 1000)+"<Quiet>true</Quiet></Delete>"), "Delete", &doc); err != nil || len(doc.Object) != 1000 {
		t.Error(len(doc.Object), err)
	}
	if len(doc.Object) > 0 && doc.Object[999].Key != strings.Repeat("k", 1024) {
		t.Error("another key")
	}
}
