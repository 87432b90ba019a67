package ring

import (
	"os"
	"strings"
	"testing"
)

func TestProcessorsAreCounted(t *testing.T) {
	for _, c := range []struct {
		list string
		want int // 0: an error
	}{
		{"0", 1}, {"0-1", 2}, {"0-3,5", 5}, {"1,3,5-5", 3}, {"0-65535", 65536},
		{"", 0}, {"0-", 0}, {"-1", 0}, {"3-1", 0}, {"0,,1", 0}, {"a", 0}, {"0-65536", 0},
	} {
		n, err := countCPUs(c.list)
		if n != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%q: %d, %v; want %d", c.list, n, err, c.want)
		}
	}
}

func TestSwitchIsAsItWasAfterOffer(t *testing.T) {
	before, err := os.ReadFile(switchFile)
	if err != nil {
		t.Skip(err)
	}
	done, err := offer()
	if err != nil {
		t.Skip(err)
	}
	during, err := os.ReadFile(switchFile)
	if err != nil {
		t.Error(err)
	}
	done()
	after, err := os.ReadFile(switchFile)
	if err != nil {
		t.Error(err)
	}
	if strings.TrimSpace(string(during)) != "Y" || string(after) != string(before) {
		t.Errorf("the switch was %q before, %q for the mount and %q after", before, during, after)
	}
}
