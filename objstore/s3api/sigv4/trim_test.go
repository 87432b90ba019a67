package sigv4

import (
	"strings"
	"testing"
)

func TestValuesAreTrimmedAsTheyAreSigned(t *testing.T) {
	for v, want := range map[string]string{
		"": "", " ": "", " \t \r\n": "", "a": "a", " a ": "a", "\ta\v": "a", "a b": "a b", "a  b": "a b", "a   b  c d": "a b c d",
		"  a     b  ": "a b", "a \t b": "a \t b", "a\t\tb": "a\t\tb", "a  \x01": "a \x01", "\x01  a": "\x01 a", "\u00a0  b": "\u00a0 b",
		strings.Repeat("a  ", 100): strings.Repeat("a ", 99) + "a",
	} {
		if got := string(appendTrimmed([]byte("x:"), v)); got != "x:"+want {
			t.Errorf("%q becomes %q, want %q", v, got, "x:"+want)
		}
	}
}
