package s3api

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// headerNames are n names with commas between them.
func headerNames(n int) string { return strings.Repeat("x-a,", n-1) + "x-a" }

// Nobody signs a preflight: what one may cost is bounded, whatever it asks for.
func TestPreflightForTooManyHeaders(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	d.do("PUT", "/bucket?cors", corsXML(elements("AllowedOrigin", "*", "AllowedMethod", "GET", "AllowedHeader", "*"))).ok(t, "put", 200)
	ask := func(n int) []string {
		return []string{"Origin", page, requested, "GET", "Access-Control-Request-Headers", headerNames(n)}
	}
	d.options("/bucket/k", ask(maxRequestedHeaders)...).ok(t, "as many as there may be", 200)
	d.options("/bucket/k", ask(maxRequestedHeaders+1)...).want(t, "one more", 403, "AccessForbidden", corsRefused, "Method", "GET", "ResourceType", "OBJECT")
	d.options("/bucket/k", append(ask(maxRequestedHeaders), "Access-Control-Request-Headers", "x-b")...).want(t, "in two lines", 403, "AccessForbidden", corsRefused, "Method", "GET", "ResourceType", "OBJECT")
	if a := d.do("GET", "/bucket/k", "", ask(maxRequestedHeaders+1)...); a.status != 200 || a.cors() != "" {
		t.Errorf("a request: %v %q", a, a.cors())
	}
}

func TestConfigurationIsParsedOnceForEachChange(t *testing.T) {
	var p parsed[string]
	times := 0
	parse := func(b []byte) (string, error) { times++; return string(b), nil }
	for i, step := range []struct {
		bucket, document string
		times            int
	}{{"a", "1", 1}, {"a", "1", 1}, {"b", "1", 2}, {"a", "2", 3}, {"b", "1", 3}, {"a", "2", 3}} {
		if got, err := p.get(step.bucket, []byte(step.document), parse); got != step.document || err != nil || times != step.times {
			t.Errorf("step %d: %q, %v, parsed %d times", i, got, err, times)
		}
	}
}

// BenchmarkPreflightMatch is the most that a preflight can ask of the largest
// configuration.
func BenchmarkPreflightMatch(b *testing.B) {
	var rules []string
	for i := range maxCORSRules {
		rule := elements("AllowedOrigin", "*", "AllowedMethod", "GET")
		for j := range 16 {
			rule += elements("AllowedHeader", fmt.Sprintf("%c*", 'a'+(i+j)%16))
		}
		rules = append(rules, rule+elements("AllowedHeader", "x*"))
	}
	parsed, err := parseCORS([]byte(corsXML(rules...)))
	if err != nil {
		b.Fatal(err)
	}
	if n := len(corsXML(rules...)); n > maxConfigBytes || n < maxConfigBytes*3/4 {
		b.Fatalf("%d bytes", n)
	}
	for _, n := range []int{maxRequestedHeaders, 15 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := httptest.NewRequest("OPTIONS", "/bucket/k", nil)
			r.Header.Set("Access-Control-Request-Headers", strings.Repeat("x,", n-1)+"y")
			q := &request{r: r}
			for b.Loop() {
				if rule, _ := parsed.match(page, "GET", q.requestedHeaders()); rule != nil {
					b.Fatal("matched")
				}
			}
		})
	}
}
