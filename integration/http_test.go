package integration

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// plain is aws-cli that talks to the listener without TLS.
func (h *House) plain() *AWS {
	h.t.Helper()
	a := h.NewAWS()
	s := h.Status()
	if !strings.HasPrefix(s.HTTP, "http://127.0.0.1:") {
		h.t.Fatalf("the endpoint without TLS is %q", s.HTTP)
	}
	a.url = s.HTTP
	return a
}

// refuses runs aws-cli and fails the test unless it fails and says every one of
// words.
func (a *AWS) refuses(args []string, words ...string) {
	a.h.t.Helper()
	r := a.Run(args...)
	if r.Code == 0 {
		a.h.t.Errorf("aws %s: done\n%v", strings.Join(args, " "), r)
		return
	}
	for _, w := range words {
		if !strings.Contains(r.Stderr, w) {
			a.h.t.Errorf("aws %s: does not say %q: %v", strings.Join(args, " "), w, r)
		}
	}
}

// TestPlainListenerServesAllButKeys: without TLS everything works but what
// needs a customer's key, which the message declares compromised.
func TestPlainListenerServesAllButKeys(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	h.Serve("--http", "127.0.0.1:0")
	tls, plain := h.NewAWS(), h.plain()
	if out := h.OK("status"); !strings.Contains(out, plain.url+" (without TLS)") {
		t.Errorf("status says\n%s", out)
	}
	plain.OK("s3", "mb", "s3://box")
	small, large := content(1, 70_000), content(2, 20<<20)
	back := h.Path("back")
	for key, p := range map[string][]byte{"small": small, "large": large} {
		plain.OK("s3", "cp", "--no-progress", h.writeFile(key, p), "s3://box/"+key)
		for _, a := range []*AWS{plain, tls} {
			a.OK("s3", "cp", "--no-progress", "s3://box/"+key, back)
			if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, p) {
				t.Errorf("%s comes back otherwise, %v", key, err)
			}
		}
	}
	plain.OK("s3", "cp", "s3://box/small", "s3://box/copy", "--sse", "AES256")

	key := "fileb://" + h.writeFile("key", content(3, 32))
	with := func(args ...string) []string {
		return append(args, "--sse-customer-algorithm", "AES256", "--sse-customer-key", key)
	}
	put := with("s3api", "put-object", "--bucket", "box", "--key", "secret", "--body", h.Path("small"))
	get := with("s3api", "get-object", "--bucket", "box", "--key", "secret", back)
	const compromised = "must be made over a secure connection. The key that was sent must be taken for compromised."
	plain.refuses(put, "InvalidRequest", compromised)
	plain.refuses([]string{"s3api", "head-object", "--bucket", "box", "--key", "secret"}, "404")
	tls.OK(put...)
	plain.refuses(get, "InvalidRequest", compromised)
	plain.refuses(with("s3api", "create-multipart-upload", "--bucket", "box", "--key", "m"), "InvalidRequest", compromised)
	plain.refuses(with("s3api", "head-object", "--bucket", "box", "--key", "secret"), "400")
	plain.refuses([]string{"s3api", "copy-object", "--bucket", "box", "--key", "c", "--copy-source", "box/secret",
		"--copy-source-sse-customer-algorithm", "AES256", "--copy-source-sse-customer-key", key}, "InvalidRequest", compromised)
	tls.OK(get...)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, small) {
		t.Errorf("through TLS it comes back otherwise, %v", err)
	}
	plain.OK("s3", "rm", "s3://box/secret") // needs no key
}

func TestPlainListenerIsOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	mnt := h.Mount()
	if s := h.Status(); s.HTTP != "" {
		t.Errorf("there is %s", s.HTTP)
	}
	// A daemon that runs is not given one.
	more := h.Mkdir("more")
	if r := h.Coffer("mount", "--http", "127.0.0.1:0", "--cache=through", more); r.Code != 0 || !strings.Contains(r.Stderr, "--http: it was not used") {
		t.Errorf("%v", r)
	}
	h.OK("umount", more)
	h.OK("umount", mnt)

	h.OK("mount", "--http", "127.0.0.1:0", mnt)
	h.plain().OK("s3", "mb", "s3://box")
	if st, err := os.Stat(mnt + "/box"); err != nil || !st.IsDir() {
		t.Error(err)
	}
	h.Umount()

	// On an address that others can reach it says so.
	if r := h.Coffer("mount", "--http", "0.0.0.0:0", mnt); r.Code != 0 || !strings.Contains(r.Stderr, "without TLS") {
		t.Errorf("%v", r)
	}
	h.Umount()
	for _, bad := range []string{"9000", "127.0.0.1:http", "127.0.0.1:99999"} {
		if r := h.Coffer("mount", "--http", bad, mnt); r.Code != 1 || !strings.Contains(r.Stderr, bad) {
			t.Errorf("%s: %v", bad, r)
		}
	}
}
