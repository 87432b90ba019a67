package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is one line of the table.
type row struct {
	name    string
	unit    string
	targets []target
}

// target is what a row is to reach, as a ratio to peers. Of several peers the
// lowest of the round counts.
type target struct {
	level string // "at least" or "aim"
	ratio float64
	peers []string
}

func atLeast(ratio float64, peers ...string) target { return target{"at least", ratio, peers} }
func aim(ratio float64, peers ...string) target     { return target{"aim", ratio, peers} }

// result is one row with its samples: per contestant one for each round, NaN
// where there is none.
type result struct {
	row
	samples map[string][]float64
	errs    map[string]string
}

type report struct {
	machine machine
	c       *config
	order   []string // contestants as they are printed
	results []*result
}

func (r *report) cofferFailed() bool {
	return slices.ContainsFunc(r.results, func(x *result) bool { return x.errs[nameCoffer] != "" })
}

// median of what is not NaN; NaN of nothing.
func median(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// ratio is the median over the rounds of coffer's figure divided by the lowest
// of the peers'.
func (r *result) ratio(peers ...string) float64 {
	ours := r.samples[nameCoffer]
	ratios := make([]float64, 0, len(ours))
	for i, v := range ours {
		low := math.NaN()
		for _, p := range peers {
			s := r.samples[p]
			if i < len(s) && !math.IsNaN(s[i]) && !(s[i] >= low) {
				low = s[i]
			}
		}
		ratios = append(ratios, v/low)
	}
	return median(ratios)
}

func (t target) String() string {
	s := fmt.Sprintf("%s %.3g x %s", t.level, t.ratio, t.peers[0])
	if len(t.peers) > 1 {
		s = fmt.Sprintf("%s %.3g x lowest of %s", t.level, t.ratio, strings.Join(t.peers, ", "))
	}
	return s
}

func (r *report) writeTable(w io.Writer) {
	m := r.machine
	fmt.Fprintf(w, "machine     %s, %d cores, %d MiB; Linux %s; %s\n", m.CPU, m.Cores, m.MemoryMiB, m.Kernel, m.Go)
	fmt.Fprintf(w, "store on    %s\n", m.FileSystem)
	fmt.Fprintf(w, "peers       %s\n", m.Peers)
	fmt.Fprintf(w, "load        %s before, %s after (figures of a loaded machine are good as ratios only)\n", m.Load, m.LoadAfter)
	fmt.Fprintf(w, "measured    %s, %d rounds, large file %d MiB, %d small files\n\n", m.Time, r.c.repeat, r.c.size>>20, r.c.files)

	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(cells ...string) { fmt.Fprintf(tw, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	line(append([]string{"row", "unit"}, r.order...)...)
	line(slices.Repeat([]string{"---"}, len(r.order)+2)...)
	for _, x := range r.results {
		cells := []string{x.name, x.unit}
		for _, name := range r.order {
			cells = append(cells, x.cell(name))
		}
		line(cells...)
	}
	tw.Flush()
	fmt.Fprintln(w, "\nIn brackets: coffer's figure divided by this one.")
	fmt.Fprintln(w)

	line("row", "target", "measured", "met")
	line("---", "---", "---", "---")
	for _, x := range r.results {
		for _, t := range x.targets {
			ratio := x.ratio(t.peers...)
			met := "yes"
			switch {
			case math.IsNaN(ratio):
				met = "not measured"
			case ratio < t.ratio:
				met = "NO"
			}
			line(x.name, t.String(), number(ratio), met)
		}
	}
	tw.Flush()
	for _, x := range r.results {
		for _, name := range r.order {
			if e := x.errs[name]; e != "" {
				fmt.Fprintf(w, "\n%s, %s: %s\n", x.name, name, e)
			}
		}
	}
}

func (r *result) cell(name string) string {
	v := median(r.samples[name])
	switch {
	case r.errs[name] != "":
		return "FAILED"
	case math.IsNaN(v):
		return "-"
	case name == nameCoffer:
		return number(v)
	}
	return fmt.Sprintf("%s (%s)", number(v), number(r.ratio(name)))
}

// number writes three digits.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (r *report) writeJSON(w io.Writer) error {
	type jsonTarget struct {
		Level    string   `json:"level"`
		Ratio    float64  `json:"ratio"`
		Peers    []string `json:"lowest_of"`
		Measured *float64 `json:"measured"`
		Met      bool     `json:"met"`
	}
	type jsonRow struct {
		Name    string               `json:"name"`
		Unit    string               `json:"unit"`
		Samples map[string][]float64 `json:"samples"`
		Medians map[string]float64   `json:"medians"`
		Targets []jsonTarget         `json:"targets"`
		Errors  map[string]string    `json:"errors,omitempty"`
	}
	out := struct {
		Machine machine   `json:"machine"`
		Rounds  int       `json:"rounds"`
		Rows    []jsonRow `json:"rows"`
	}{Machine: r.machine, Rounds: r.c.repeat}
	for _, x := range r.results {
		j := jsonRow{Name: x.name, Unit: x.unit, Samples: map[string][]float64{}, Medians: map[string]float64{}, Errors: x.errs}
		for name, s := range x.samples {
			if s = slices.DeleteFunc(slices.Clone(s), math.IsNaN); len(s) > 0 { // JSON has no NaN
				j.Samples[name], j.Medians[name] = s, median(s)
			}
		}
		for _, t := range x.targets {
			jt := jsonTarget{Level: t.level, Ratio: t.ratio, Peers: t.peers}
			if v := x.ratio(t.peers...); !math.IsNaN(v) {
				jt.Measured, jt.Met = &v, v >= t.ratio
			}
			j.Targets = append(j.Targets, jt)
		}
		out.Rows = append(out.Rows, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
