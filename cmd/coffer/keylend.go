package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func keyLendCommand() *cli.Command {
	return &cli.Command{
		Name:      "lend",
		Usage:     "lend customers' keys to a mount",
		ArgsUsage: "MOUNTPOINT FILE...",
		Description: `Files in the mount that were stored with one of the keys (SSE-C) can be opened
from then on, and what is written to them stays under that key. A new file is
encrypted as its bucket's default says, as any. A key file holds 32 bytes, or
their base64 or hexadecimal text; nobody but its owner should be able to read it
(chmod 600). The daemon keeps the keys in memory until they are returned or the
mount is removed, and writes them nowhere.

   openssl rand -out sse-c.key 32
   aws s3 cp letter s3://letters/ --sse-c AES256 --sse-c-key fileb://sse-c.key
   coffer key lend ~/box sse-c.key`,
		Action: func(c *cli.Context) error {
			if c.NArg() < 2 {
				return usagef("key lend needs a mount point and a key file")
			}
			r, err := runLend(c, false)
			if err == nil {
				fmt.Fprintf(c.App.Writer, "%s has been lent %s\n", strings.Join(r.Mountpoints, " and "), count(r.Lent, "key"))
			}
			return err
		},
	}
}

func keyReturnCommand() *cli.Command {
	return &cli.Command{
		Name:      "return",
		Usage:     "take customers' keys back from a mount",
		ArgsUsage: "MOUNTPOINT [FILE...]",
		Description: `Takes back the keys in the files, or all keys if none is named: the daemon wipes
them and has the kernel forget what it read with them. Files under them cannot be
opened from then on. One that a program has open stays open until it is closed.`,
		Action: func(c *cli.Context) error {
			if c.NArg() < 1 {
				return usagef("key return needs a mount point")
			}
			r, err := runLend(c, true)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "%s returned; %s has been lent %s\n", count(r.Changed, "key"), strings.Join(r.Mountpoints, " and "), count(r.Lent, "key"))
			if r.InUse > 0 {
				printNotes(c.App.ErrWriter, count(r.InUse, "open file")+" stays readable until it is closed")
			}
			return nil
		},
	}
}

func runLend(c *cli.Context, back bool) (mount.LendReply, error) {
	r, notes, err := mount.RunLend(c.Context, c.Args().First(), c.Args().Tail(), back)
	printNotes(c.App.ErrWriter, notes...)
	return r, err
}
