package s3api

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// tableOfOperations is docs/s3.md: what it says of each operation.
func tableOfOperations(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../docs/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| .*\\|$|^\\| `(\\w+)`").FindAllStringSubmatch(string(b), -1) {
		if m[1] == "" {
			t.Errorf("%s: a row has three columns: name, yes or told or no, and how it differs", m[3])
			continue
		}
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s has two rows", m[1])
		}
		if !slices.Contains([]string{"yes", "told", "no"}, m[2]) {
			t.Errorf("%s: %q", m[1], m[2])
		}
		rows[m[1]] = m[2]
	}
	return rows
}

// Operations without a route of their own: a header, or an id in the query, makes
// them of another one, or they are not S3's.
var otherOperations = map[string]string{
	"CopyObject": "PutObject", "UploadPartCopy": "UploadPart",
	"GetBucketAnalyticsConfiguration":          "ListBucketAnalyticsConfigurations",
	"GetBucketMetricsConfiguration":            "ListBucketMetricsConfigurations",
	"GetBucketInventoryConfiguration":          "ListBucketInventoryConfigurations",
	"GetBucketIntelligentTieringConfiguration": "ListBucketIntelligentTieringConfigurations",
	"AssumeRole": "", "GetSessionToken": "", "GetCallerIdentity": "",
}

// checkedElsewhere is refused only when it says something: TestReplicationIsNotPromised.
var checkedElsewhere = map[string]bool{"PutBucketReplication": true}

func TestDocsTellEveryOperation(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "key", "data")
	rows := tableOfOperations(t)

	// Every operation that the door knows has a row, and is refused as not
	// implemented just when its row says so.
	routed := map[string]bool{}
	for target, table := range map[string]map[string]resource{"/": serviceRoutes, "/bucket": bucketRoutes, "/bucket/key": objectRoutes} {
		for method, res := range table {
			for _, s := range append([]subresource{{"", res.plain}}, res.subresources...) {
				if s.handle == nil || strings.Contains(s.name, "?") { // not S3's own
					continue
				}
				routed[s.name] = true
				says, ok := rows[s.name]
				if !ok {
					t.Errorf("%s has no row in docs/s3.md", s.name)
					continue
				}
				if s.param == "" && method == "DELETE" {
					continue // the bucket and the key are needed yet
				}
				a := d.do(method, target+"?"+s.param, "")
				refused := a.status == 501
				if want := says == "no"; unbuilt[s.name] != refused || !want && refused || want && !refused && !checkedElsewhere[s.name] {
					t.Errorf("%s: docs/s3.md says %s, the door %v", s.name, says, a)
				}
			}
		}
	}
	for name, says := range rows {
		of, other := otherOperations[name]
		switch {
		case other && (says != "yes" && says != "told" || of != "" && !routed[of]):
			t.Errorf("%s: %s, but it is built", name, says)
		case !other && says != "no" && !routed[name]:
			t.Errorf("%s: docs/s3.md says %s, the door does not know it", name, says)
		}
	}

	// Every operation that AWS has, has a row.
	client := reflect.TypeFor[*s3.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() == 4 && m.Type.NumOut() == 2 && rows[m.Name] == "" {
			t.Errorf("%s has no row in docs/s3.md", m.Name)
		}
	}
	if len(routed) < 80 || len(rows) < 110 {
		t.Errorf("%d routes, %d rows: %v", len(routed), len(rows), slices.Sorted(maps.Keys(rows)))
	}

	// What would be lost if it were taken for another operation.
	for _, target := range []string{"/bucket?acl", "/bucket/key?acl"} {
		d.do("PUT", target, "", "x-amz-acl", "public-read").want(t, target, 400, "AccessControlListNotSupported", "")
	}
	d.put("bucket", "key", "data")
	d.do("PUT", "/bucket/key?annotation&annotationName=a", "not the object").want(t, "annotation", 501, "NotImplemented", "")
	if got := d.get("bucket", "key"); got != "data" {
		t.Errorf("the object is %q now", got)
	}
}
