package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// What commands print their answers with.

var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "answer for programs", EnvVars: []string{"COFFER_JSON"}}

// printJSON prints an answer for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printNotes prints what the user should know and did not ask for.
func printNotes(stderr io.Writer, notes ...string) {
	for _, n := range notes {
		fmt.Fprintln(stderr, "coffer: note:", n)
	}
}

// count writes a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func directories(n int) string {
	if n == 1 {
		return "1 directory"
	}
	return fmt.Sprintf("%d directories", n)
}

// orDash writes a dash for nothing, in tables.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// size writes bytes in binary units.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// printable quotes what a terminal should not be sent.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(s)
	}
	return s
}

// statusLine is one line of a terminal that is written again and again.
type statusLine struct {
	w     io.Writer
	on    bool
	width int
}

func (l *statusLine) set(text string) {
	if l.on {
		fmt.Fprintf(l.w, "\r%s%s", text, strings.Repeat(" ", max(l.width-len(text), 0)))
		l.width = len(text)
	}
}

func (l *statusLine) clear() {
	if l.width > 0 {
		fmt.Fprintf(l.w, "\r%s\r", strings.Repeat(" ", l.width))
		l.width = 0
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
