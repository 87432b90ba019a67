package sigv4

import (
	"bufio"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// TestRepeatedSignedHeaders: who names a long header as signed again and again needs
// no secret for it, only somebody's access key id.
func TestRepeatedSignedHeaders(t *testing.T) {
	for name, head := range map[string]string{
		"header":     get(swap("SignedHeaders=host", "SignedHeaders="+strings.Repeat("a;", 6000)+"host")),
		"not sorted": get(swap("SignedHeaders=host", "SignedHeaders="+strings.Repeat("a;b;", 3000)+"host")),
		"presigned":  "GET /test.txt?" + swap("SignedHeaders=host", "SignedHeaders="+strings.Repeat("a%3B", 6000)+"host")(presignedQuery) + " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com",
	} {
		raw := strings.ReplaceAll(head+"\na: "+strings.Repeat("x", 16<<10), "\n", "\r\n") + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = exampleVerifier().Verify(r)
		runtime.ReadMemStats(&after)
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: %d MiB", name, n>>20)
		}
	}
}
