package policy

import (
	"runtime"
	"strings"
	"testing"
)

// TestVariablesTakeLittleMemory: a document of the permitted length names a long
// header of the request as often as it can.
func TestVariablesTakeLittleMemory(t *testing.T) {
	many := strings.Repeat("${aws:UserAgent}", MaxDocument/16-20)
	value := strings.Repeat("x", 30<<10)
	for _, fields := range []string{
		`"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/` + many + `"`,
		`"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:userid":"` + many + `"}}`,
	} {
		p := mustParse(t, statementOf(fields), Identity)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := p.Evaluate(&Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Principal: alice, Values: keys("aws:useragent", value, "aws:userid", value)})
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%.60s: %d MiB", fields, n>>20)
		}
		if d != None {
			t.Errorf("%.60s: %v", fields, d)
		}
	}
}
