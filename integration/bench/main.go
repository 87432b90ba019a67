// Command bench measures a coffer store against what stands around it: the
// directory that the store lies in, gocryptfs, s3fs, versitygw and MinIO where
// they are installed, and yardsticks that say what the machine can do at all: a FUSE
// file system that encrypts and stores nothing, an HTTPS server that does
// nothing, and the disk without a file cache. It drives the coffer program
// from outside, as a user would.
//
// All contestants of a row are measured in one run, in turns, and the order
// changes from round to round, so that what else the machine does falls on all
// of them. A figure is the median over the rounds; a ratio is the median of the
// rounds' ratios. Every figure is a rate: more is better.
//
// Root is needed for the cold rows, which drop the kernel's caches; without it
// they are left out. Everything that is made lies in one directory, and is
// unmounted, ended and removed at the end, on failure and on an interrupt too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	coffer   string
	dir      string
	tree     string
	repeat   int
	size     int64 // of the large file, in bytes
	files    int
	keys     int   // to be listed
	copySize int64 // of the object that is copied, in bytes
	only     *regexp.Regexp
	json     bool
	quick    bool
	s3fs     bool
	profile  string // directory for CPU profiles of coffer's daemon; empty: none
	object   int64  // of the large object, in bytes
	randoms  int    // operations of a random row
	duration time.Duration
	settle   time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == helperArg {
		os.Exit(runHelper(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program. It returns the exit code: 0, 1 if coffer failed a
// row or nothing could be measured, 2 for wrong usage. Targets that are missed
// do not change it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	report, err := measure(ctx, c, stderr)
	if report != nil {
		if c.json {
			report.writeJSON(stdout)
		} else {
			report.writeTable(stdout)
		}
		if err == nil && report.cofferFailed() {
			err = errors.New("coffer failed in a row")
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	c.only = regexp.MustCompile("")
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.coffer, "coffer", "", "the coffer `program`; default: bin/coffer here or above, then the path")
	f.StringVar(&c.dir, "dir", "", "make the store and everything else below `DIR`, on the disk to be measured; default: the directory for temporary files")
	f.StringVar(&c.tree, "tree", "", "source `tree` for cp -r; default: Go's own, $(go env GOROOT)/src")
	f.IntVar(&c.repeat, "repeat", 3, "`rounds` of each row")
	f.Var((*sizeValue)(&c.size), "size", "`bytes` of the large file, with K, M or G; default 1G")
	f.IntVar(&c.files, "files", 0, "`number` of small files; default 10000")
	f.IntVar(&c.keys, "keys", 0, "`number` of keys to list; default 20000. The promise is for 1000000, which take one to three minutes to make")
	f.Var((*sizeValue)(&c.copySize), "copy-size", "`bytes` of the object to copy, with K, M or G; default 1G")
	f.Func("only", "measure only the rows whose name matches the `regexp`", func(text string) (err error) {
		c.only, err = regexp.Compile(text)
		return err
	})
	f.BoolVar(&c.json, "json", false, "print all samples as JSON")
	f.BoolVar(&c.quick, "quick", false, "small sizes, one round: to see that everything works, not for figures")
	f.BoolVar(&c.s3fs, "s3fs", true, "measure s3fs on coffer's S3 door too, with smaller sizes, where it is installed")
	f.DurationVar(&c.duration, "duration", 0, "`time` for each row that is measured by time; default 2s")
	f.StringVar(&c.profile, "profile", "", "leave a CPU profile of coffer's daemon for each row in `DIR`: from the second round on, of rows that take over 2 s")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("there is no argument %q", f.Arg(0))
	}
	c.fillAmounts()
	if c.repeat < 1 {
		return nil, errors.New("-repeat needs at least 1")
	}
	if c.coffer == "" {
		c.coffer = findCoffer()
	}
	var err error
	if c.coffer, err = filepath.Abs(c.coffer); err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.coffer); err != nil {
		return nil, fmt.Errorf("the coffer program is missing (make build): %w", err)
	}
	if c.tree == "" {
		c.tree = defaultTree(c.quick)
	}
	return c, nil
}

// fillAmounts sets the sizes, numbers and times that were not given, and those that
// cannot be.
func (c *config) fillAmounts() {
	pick := func(full, quick int64) int64 {
		if c.quick {
			return quick
		}
		return full
	}
	if c.size == 0 {
		c.size = pick(1<<30, 16<<20)
	}
	c.size = max(c.size, 4*block) / block * block
	if c.files <= 0 {
		c.files = int(pick(10_000, 200))
	}
	if c.keys <= 0 {
		c.keys = int(pick(20_000, 2500))
	}
	if c.copySize == 0 {
		c.copySize = pick(1<<30, 16<<20)
	}
	c.object = pick(64<<20, 2<<20)
	c.randoms = int(pick(16384, 512))
	if c.duration <= 0 {
		c.duration = time.Duration(pick(int64(2*time.Second), int64(100*time.Millisecond)))
	}
	c.settle = time.Duration(pick(int64(4*time.Second), int64(100*time.Millisecond)))
	if c.quick {
		c.repeat = 1
	}
}

// sizeValue is a flag for a number of bytes, with K, M or G.
type sizeValue int64

func (v *sizeValue) String() string { return "" }

func (v *sizeValue) Set(text string) error {
	n, err := parseSize(text)
	*v = sizeValue(n)
	return err
}

func parseSize(s string) (int64, error) {
	unit := int64(1)
	if i := strings.IndexAny(s, "KMG"); i >= 0 && i == len(s)-1 {
		unit = map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[s[i]]
		s = s[:i]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > (1<<44)/unit {
		return 0, errors.New("no size: a number of bytes, with K, M or G behind it or not")
	}
	return n * unit, nil
}

// findCoffer looks where make build leaves the program.
func findCoffer() string {
	for _, dir := range []string{".", "..", "../.."} {
		if p := filepath.Join(dir, "bin", "coffer"); isFile(p) {
			return p
		}
	}
	return filepath.Join("bin", "coffer")
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}

// defaultTree is a source tree that is there wherever coffer is built.
func defaultTree(quick bool) string {
	root := os.Getenv("GOROOT")
	if root == "" {
		root = goroot()
	}
	if quick {
		return filepath.Join(root, "src", "encoding")
	}
	return filepath.Join(root, "src")
}
