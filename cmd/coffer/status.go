package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "tell about a store and its daemon",
		Description: `Exit code 3 means that no daemon has the store open. With --json the answer is
one object, in that case too: running, pid (0 without a daemon), store, store_id,
endpoint, http_endpoint (with --http), read_only, mounts (mountpoint, bucket,
read_only, allow_other, cache, sse_c_keys, bucket_gone), started, log_file, ca_bundle, and
figures in bytes.`,
		Flags: []cli.Flag{storeFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			s, err := mount.RunStatus(c.Context, config(c))
			switch {
			case s.Store == "":
			case c.Bool("json"):
				if jerr := printJSON(c.App.Writer, s); jerr != nil {
					return jerr
				}
			case err == nil:
				printStatus(c.App.Writer, s)
			}
			return err
		},
	}
}

func printStatus(w io.Writer, s mount.Status) {
	mode := ""
	if s.ReadOnly {
		mode = " (read-only)"
	}
	fmt.Fprintf(w, "store     %s%s\n", s.Store, mode)
	fmt.Fprintf(w, "daemon    process %d, running since %s\n", s.PID, s.Started.Local().Format(time.DateTime))
	fmt.Fprintf(w, "endpoint  %s\n", s.Endpoint)
	if s.HTTP != "" {
		fmt.Fprintf(w, "          %s (without TLS)\n", s.HTTP)
	}
	if s.LogFile != "" {
		fmt.Fprintf(w, "log       %s\n", s.LogFile)
	}
	fmt.Fprintf(w, "data      %s in segments, %s in use; %s free on the disk\n", size(uint64(s.SegmentBytes)), size(uint64(s.LiveBytes)), size(s.DiskAvailable))
	if s.Corruptions > 0 {
		fmt.Fprintf(w, "DAMAGE    %d reads failed authentication; the log names the objects\n", s.Corruptions)
	}
	switch {
	case s.Failed != "":
		fmt.Fprintf(w, "FAILED    nothing is written until the daemon is started again: %s\n", s.Failed)
	case s.Full:
		fmt.Fprintln(w, "FULL      what was accepted waits in memory for room on the disk; it goes on when there is some")
	}
	if len(s.Mounts) == 0 {
		fmt.Fprintln(w, "mounts    none")
	}
	for i, m := range s.Mounts {
		label := "mounts  "
		if i > 0 {
			label = "        "
		}
		what := "all buckets"
		if m.Bucket != "" {
			what = "bucket " + m.Bucket
		}
		if m.BucketGone {
			what += ", which was removed"
		}
		if m.ReadOnly {
			what += ", read-only"
		}
		what += ", cache " + m.Cache
		if m.SSECKeys > 0 {
			what += fmt.Sprintf(", %s lent", count(m.SSECKeys, "SSE-C key"))
		}
		fmt.Fprintf(w, "%s  %s (%s)\n", label, m.Mountpoint, what)
	}
}
