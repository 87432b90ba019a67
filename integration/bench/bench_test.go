package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == helperArg {
		os.Exit(runHelper(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// TestQuickRunMeasuresEveryRow runs everything once, small, and looks that each
// row has coffer's figure and that nothing is left behind. No figure is judged.
func TestQuickRunMeasuresEveryRow(t *testing.T) {
	if testing.Short() {
		t.Skip("drives the whole program")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("no FUSE here: %v", err)
	} else {
		f.Close()
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "coffer")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/cofferfs/coffer/cmd/coffer").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"-quick", "-json", "-coffer", program, "-dir", work}, &stdout, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	var report struct {
		Rows []struct {
			Name    string
			Medians map[string]float64
			Targets []struct{ Ratio float64 }
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	want := 0
	for _, g := range (&stage{c: &config{}}).groups() {
		want += len(g.rows)
	}
	if len(report.Rows) != want {
		t.Errorf("%d rows, want %d", len(report.Rows), want)
	}
	for _, r := range report.Rows {
		cold := strings.HasSuffix(r.Name, "cold")
		if r.Medians[nameCoffer] <= 0 && !(cold && os.Geteuid() != 0) {
			t.Errorf("%s: no figure for coffer", r.Name)
		}
		if len(r.Targets) == 0 {
			t.Errorf("%s: no target", r.Name)
		}
	}
	left, err := os.ReadDir(work)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), work) {
		t.Errorf("still mounted:\n%s, %v", mounts, err)
	}
}

func TestRatioComparesWithinRounds(t *testing.T) {
	nan := math.NaN()
	r := &result{samples: map[string][]float64{
		nameCoffer: {10, 20, 30},
		"a":        {5, 20, 60},    // ratios 2, 1, 0.5
		"b":        {nan, 40, 600}, // ratios -, 0.5, 0.05
	}}
	for _, c := range []struct {
		peers []string
		want  float64
	}{
		{[]string{"a"}, 1},
		{[]string{"b"}, 0.275},
		{[]string{"a", "b"}, 1}, // the lower of both in each round
		{[]string{"absent"}, nan},
	} {
		got := r.ratio(c.peers...)
		if math.IsNaN(c.want) != math.IsNaN(got) || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("ratio(%v) = %v, want %v", c.peers, got, c.want)
		}
	}
}

func TestParseRefusesWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-size", "x"}, {"-size", "-1"}, {"-size", "99999999999G"}, {"-repeat", "0"}, {"-only", "("}, {"argument"}, {"-no-such-flag"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, &bytes.Buffer{}, &stderr); code != 2 {
			t.Errorf("%v: exit code %d, want 2: %s", args, code, &stderr)
		}
	}
}
