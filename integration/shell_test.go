package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Shell runs a script with `sh -eu` in the house, with aws-cli on its PATH, the
// credentials of `coffer env` and the endpoint in $ENDPOINT.
type Shell struct {
	h   *House
	env []string
}

// NewShell returns a shell for the running daemon. Its endpoint names localhost,
// as guides do, and its credentials are those of `coffer env`.
func (h *House) NewShell() *Shell {
	h.t.Helper()
	// aws-cli may lie behind another program of that name.
	bin := h.Mkdir("bin")
	if err := os.Symlink(awsPath(h.t), filepath.Join(bin, "aws")); err != nil && !os.IsExist(err) {
		h.t.Fatal(err)
	}
	s := &Shell{h: h, env: []string{"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_DEFAULT_OUTPUT=json",
		"PATH=" + bin + ":" + os.Getenv("PATH")}}
	for name, value := range h.Env() {
		s.env = append(s.env, name+"="+value)
		if name == "AWS_ENDPOINT_URL" {
			s.env = append(s.env, "ENDPOINT="+strings.Replace(value, "127.0.0.1", "localhost", 1))
		}
	}
	return s
}

// Run runs a script.
func (s *Shell) Run(script string) Result { return s.h.Exec(s.env, "sh", "-euc", script) }

// OK runs a script that has to end with 0 and returns its standard output.
func (s *Shell) OK(script string) string {
	s.h.t.Helper()
	r := s.Run(script)
	if r.Code != 0 {
		s.h.t.Fatalf("%s\n%v", script, r)
	}
	return r.Stdout
}

// Fails runs a script that has to fail and to say so with the given words.
func (s *Shell) Fails(words, script string) {
	s.h.t.Helper()
	r := s.Run(script)
	if r.Code == 0 || !strings.Contains(r.Stderr+r.Stdout, words) {
		s.h.t.Errorf("%s\nends with %v\nand not with an error that says %q", script, r, words)
	}
}

// need skips the test unless the program is installed.
func need(t testing.TB, program, pkg string) string {
	t.Helper()
	for _, dir := range append([]string{"/usr/bin", "/usr/local/bin"}, filepath.SplitList(os.Getenv("PATH"))...) {
		path := filepath.Join(dir, program)
		if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
			return path
		}
	}
	missing(t, "%s is not installed (package %s)", program, pkg)
	return ""
}
