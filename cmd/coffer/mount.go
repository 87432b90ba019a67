package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func mountCommand() *cli.Command {
	return &cli.Command{
		Name:      "mount",
		Usage:     "mount a store on an empty directory, and serve it through S3",
		ArgsUsage: "MOUNTPOINT",
		Description: `Mounts the store, in the background, and opens its S3 server. A store that
does not exist is made: a key file is written outside of it, and S3 credentials,
a certificate authority and a server certificate into it. Without --bucket the
mount's root shows the buckets as directories; with it, the root is that
bucket's, which is made if it is missing.

If a daemon has the store open already it adds the mount, so any number of
directories can be mounted. Mounts of different buckets are independent.
Mounts that show the same files are kept coherent. For root the second one
shows the first one's cache or, where it cannot, the kernel's write cache is
taken from both, if nobody is using the first one at that moment. For others,
mount all of them with --cache=through, which does without from the start.

With --read-only nothing is changed by either door if this starts the daemon;
the mount alone is read-only if the daemon runs already.

A file that was stored with a customer's key (SSE-C) can be listed, renamed and
removed in every mount. It opens in one that was lent its key, with --sse-c-key
or coffer key lend; elsewhere opening it fails with ENOKEY.

A daemon that mount started ends, and its S3 server with it, when its last
mount is removed. Next: eval "$(coffer env)", coffer status, coffer umount.`,
		Flags: []cli.Flag{
			storeFlag,
			&cli.StringFlag{Name: "bucket", Usage: "mount this bucket `B` alone", EnvVars: []string{"COFFER_BUCKET"}},
			listenFlag, httpFlag,
			&cli.BoolFlag{Name: "foreground", Usage: "stay, and log to standard error", EnvVars: []string{"COFFER_FOREGROUND"}},
			&cli.BoolFlag{Name: "read-only", Usage: "refuse every change", EnvVars: []string{"COFFER_READ_ONLY"}},
			&cli.BoolFlag{Name: "allow-other", Usage: "let other users into the mount; file modes decide what they may do", EnvVars: []string{"COFFER_ALLOW_OTHER"}},
			&cli.StringFlag{
				Name: "cache", Usage: "`MODE` of the kernel's write cache: auto, writeback (fast, alone on its files) or through (can share them)",
				EnvVars: []string{"COFFER_CACHE"}, Value: string(mount.CacheAuto),
			},
			&cli.BoolFlag{
				Name: "io-uring", Usage: "take requests from the kernel through io_uring where that can be used (Linux 6.18): faster, an experiment; see docs/design.md before you use it",
				EnvVars: []string{"COFFER_IO_URING"},
			},
			&cli.StringSliceFlag{
				Name: "sse-c-key", Usage: "lend the mount the customer's key in `FILE`, for files under SSE-C; can be given several times",
				EnvVars: []string{"COFFER_SSE_C_KEY"},
			},
			keyFileFlag, passphraseFlag, debugFlag,
		},
		Action: func(c *cli.Context) error {
			dir, err := oneArg(c, "mount point")
			if err != nil {
				return err
			}
			r := mount.MountRequest{
				Mountpoint: dir,
				Bucket:     c.String("bucket"),
				ReadOnly:   c.Bool("read-only"),
				AllowOther: c.Bool("allow-other"),
				Cache:      mount.CacheMode(c.String("cache")),
				IOURing:    c.Bool("io-uring"),

				SSECKeyFiles: c.StringSlice("sse-c-key"),
			}
			return mount.RunMount(c.Context, config(c), r, c.Bool("foreground"), func(res mount.MountResult) {
				printMount(told(c), c.App.ErrWriter, res)
			})
		},
	}
}

func printMount(w, errw io.Writer, res mount.MountResult) {
	printNotes(errw, res.Notes...)
	printNotes(errw, res.Report.Warnings...)
	if res.Started {
		printMade(w, res.Report)
	}
	for _, m := range res.Mount.Made {
		fmt.Fprintln(w, "made", m)
	}
	what := "all buckets"
	if res.Mount.Bucket != "" {
		what = "bucket " + res.Mount.Bucket
	}
	if res.Mount.ReadOnly {
		what += ", read-only"
	}
	fmt.Fprintf(w, "mounted on %s (%s)\n", res.Mount.Mountpoint, what)
	if res.Started {
		printEndpoint(w, res.Report)
	}
}

// printMade says what a new store consists of.
func printMade(w io.Writer, r mount.StartReport) {
	if !r.Made {
		return
	}
	fmt.Fprintf(w, "made a store in %s\n", r.Store)
	const keep = "  Keep a copy of the key file in a safe place: whoever loses it loses the data."
	switch {
	case r.KeyMade:
		fmt.Fprintf(w, "made its key file %s\n%s\n", r.KeyFile, keep)
	case r.KeyFile != "":
		fmt.Fprintf(w, "it opens with the key file %s\n%s\n", r.KeyFile, keep)
	default:
		fmt.Fprintln(w, "it opens with the passphrase: whoever loses it loses the data")
	}
	fmt.Fprintf(w, "made S3 credentials (access key %s) and a certificate authority of its own\n", r.AccessKey)
}

// printEndpoint says how to use the S3 door.
func printEndpoint(w io.Writer, r mount.StartReport) {
	store := ""
	if def, err := mount.DefaultStore(); err != nil || def != r.Store {
		store = " --store " + mount.ShellQuote(r.Store)
	}
	fmt.Fprintf(w, "S3 endpoint %s; with aws-cli:\n", r.Endpoint)
	// Inside double quotes a quoted path stays right: $(...) is parsed anew.
	fmt.Fprintf(w, "  eval \"$(coffer env%s)\"\n", store)
	fmt.Fprintln(w, "  aws s3 ls")
	if r.HTTP != "" {
		fmt.Fprintf(w, "the same without TLS %s\n", r.HTTP)
	}
	if r.LogFile != "" {
		fmt.Fprintf(w, "log %s\n", r.LogFile)
	}
}
