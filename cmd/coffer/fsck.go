package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func fsckCommand() *cli.Command {
	return &cli.Command{
		Name:  "fsck",
		Usage: "read everything in a store, and name what is damaged",
		Description: `Reads all names, all contents, all versions and all parts of uploads of a store,
all of its metadata, and its keystore and superblock with their second copies, as
they stand on the disk, and decrypts them: what was altered, cut, swapped or lost
since it was written does not authenticate. Each such thing is printed, by its
bucket and key where it has them. Nothing is changed: bring what is
damaged back from a copy, or remove it.

A running daemon does it beside its other work, and mounts and S3 go on; without
one the store is opened read-only, which takes its key file or passphrase. What is
encrypted under a customer's key (SSE-C) is read with the keys that are given, and
otherwise counted only; so is what is under a key that is disabled or deleted.

With --json the answer is one object: the figures, and damage with a path and an
error for each thing.

   coffer fsck
   coffer fsck --sse-c-key sse-c.key`,
		Flags: []cli.Flag{
			storeFlag, keyFileFlag, passphraseFlag,
			&cli.StringSliceFlag{
				Name: "sse-c-key", Usage: "read what is under the customer's key in `FILE`, too; can be given several times",
				EnvVars: []string{"COFFER_SSE_C_KEY"},
			},
			jsonFlag,
		},
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			return fsck(c)
		},
	}
}

// errDamaged is the end of an fsck that found something.
type errDamaged int

func (e errDamaged) Error() string {
	return fmt.Sprintf("%s cannot be read as written", count(int(e), "thing"))
}

func fsck(c *cli.Context) error {
	out, asJSON := c.App.Writer, c.Bool("json")
	line := statusLine{w: c.App.ErrWriter, on: !asJSON && isTerminal(c.App.ErrWriter)}
	damage := []mount.FsckDamage{}
	r, err := mount.RunFsck(c.Context, config(c), c.StringSlice("sse-c-key"), mount.FsckTold{
		Damaged: func(d mount.FsckDamage) {
			if asJSON {
				damage = append(damage, d)
				return
			}
			line.clear()
			where := printable(d.Path)
			if d.Path == "" {
				where = "(metadata)"
			}
			fmt.Fprintf(out, "DAMAGED %s: %s\n", where, printable(d.Error))
		},
		Progress: func(r mount.FsckReport) {
			line.set(fmt.Sprintf("%s, %s read, %d damaged", count(r.Files, "file"), size(uint64(r.Bytes)), r.Damaged))
		},
		Note: func(n string) { printNotes(c.App.ErrWriter, n) },
	})
	line.clear()
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(out, struct {
			mount.FsckReport
			Damage []mount.FsckDamage `json:"damage"`
		}{r, damage})
	} else {
		printFsck(out, r)
	}
	if err == nil && r.Damaged > 0 {
		err = errDamaged(r.Damaged)
	}
	return err
}

func printFsck(w io.Writer, r mount.FsckReport) {
	fmt.Fprintf(w, "%s, %s, %s, %s, %s: %s read and authentic, %d damaged\n",
		count(r.Buckets, "bucket"), directories(r.Directories), count(r.Files, "file"), count(r.Versions, "older version"), count(r.Parts, "part"),
		size(uint64(r.Bytes)), r.Damaged)
	if r.KeyRequired > 0 {
		fmt.Fprintf(w, "not read: %s under customers' keys that were not given (--sse-c-key)\n", count(r.KeyRequired, "content"))
	}
	if r.KeyLocked > 0 {
		fmt.Fprintf(w, "not read: %s under keys that are disabled or deleted (coffer key list)\n", count(r.KeyLocked, "content"))
	}
}
