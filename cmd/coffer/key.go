package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

func keyCommand() *cli.Command {
	c := &cli.Command{
		Name:  "key",
		Usage: "manage the keys of SSE-KMS, and lend those of SSE-C to mounts",
		UsageText: "coffer key create|list|show|rotate|disable|enable|delete|cancel-delete [--store DIR] [KEY]\n" +
			"coffer key lend|return MOUNTPOINT FILE...",
		Description: `Manages the external keys in the store's keystore, which objects stored with
SSE-KMS are encrypted under, each with its own choice:

   coffer key create photos
   aws s3 cp a.jpg s3://letters/ --sse aws:kms --sse-kms-key-id photos

KEY is a name, an alias (alias/NAME) or an ARN, as coffer key list shows them.
The daemon is asked if one has the store open, and knows of a change at once;
otherwise the keystore is opened here, with --key-file or --passphrase-file.
The store uses two keys by itself, "store" and "sse-s3": they can be rotated and
neither disabled nor deleted.

Customers' keys (SSE-C) are never stored: lend and return tell a mount about one
that lies in a file. coffer key COMMAND --help tells about each.`,
		Action: subcommandHelp("key"),
	}
	c.Subcommands = []*cli.Command{
		keyCreateCommand(), keyListCommand(), keyShowCommand(), keyRotateCommand(),
		keyDisableCommand(), keyEnableCommand(), keyDeleteCommand(), keyCancelDeleteCommand(),
		keyLendCommand(), keyReturnCommand(),
	}
	return c
}

// keyFlags are those of every key command.
func keyFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{storeFlag, keyFileFlag, passphraseFlag}, more...)
}

// runKey asks for an action on the key that is the only argument.
func runKey(c *cli.Context, q mount.KeyRequest) (mount.KeyReply, error) {
	name, err := oneArg(c, "key")
	if err != nil {
		return mount.KeyReply{}, err
	}
	q.Key = name
	return mount.RunKey(c.Context, config(c), q)
}

func keyCreateCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make a key",
		ArgsUsage: "NAME",
		Description: `Makes a key of that name, 1 to 128 letters, digits, dots, underscores and
hyphens, and prints its ARN. Requests can name it by that, by its name and by its
aliases. It lies in the store's keystore, sealed by the store's key file or
passphrase, and is never seen outside the daemon: back the keystore up with the
store.

   coffer key create photos --alias holidays --alias holidays/2026`,
		Flags: keyFlags(&cli.StringSliceFlag{Name: "alias", Usage: "another `NAME` of it; can be given several times", EnvVars: []string{"COFFER_ALIAS"}}),
		Action: func(c *cli.Context) error {
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyCreate, Aliases: c.StringSlice("alias")})
			if err != nil {
				return err
			}
			fmt.Fprintln(c.App.Writer, r.Keys[0].ARN)
			return nil
		},
	}
}

func keyListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list all keys",
		Description: `With --json the answer is one array of objects as coffer key show --json prints
one.`,
		Flags: keyFlags(jsonFlag),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			r, err := mount.RunKey(c.Context, config(c), mount.KeyRequest{Action: mount.KeyList})
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, r.Keys)
			}
			w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tVERSION\tCREATED\tALIASES")
			for _, k := range r.Keys {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", k.Name, keyState(k), k.Version, k.Created.Local().Format(time.DateOnly), orDash(strings.Join(k.Aliases, " ")))
			}
			return w.Flush()
		},
	}
}

func keyShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "describe a key",
		ArgsUsage: "KEY",
		Description: `With --json the answer is one object: name, arn, aliases, state (enabled,
disabled, pending-deletion), use (objects, or store for a key that the store uses
by itself), version, created, delete_at (if its deletion is pending), and
data_keys, how many data keys are under it, if a daemon runs.`,
		Flags: keyFlags(jsonFlag),
		Action: func(c *cli.Context) error {
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyShow})
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, r.Keys[0])
			}
			printKey(c.App.Writer, r.Keys[0])
			return nil
		},
	}
}

func printKey(w io.Writer, k mount.KeyInfo) {
	fmt.Fprintf(w, "name       %s\n", k.Name)
	fmt.Fprintf(w, "arn        %s\n", k.ARN)
	fmt.Fprintf(w, "aliases    %s\n", orDash(strings.Join(k.Aliases, " ")))
	fmt.Fprintf(w, "state      %s\n", keyState(k))
	if k.Use != "objects" {
		fmt.Fprintf(w, "use        the store itself\n")
	}
	fmt.Fprintf(w, "version    %d\n", k.Version)
	fmt.Fprintf(w, "created    %s\n", k.Created.Local().Format(time.DateTime))
	if k.DataKeys != nil {
		fmt.Fprintf(w, "data keys  %d\n", *k.DataKeys)
	}
}

// keyState says what state a key is in.
func keyState(k mount.KeyInfo) string {
	if k.DeleteAt.IsZero() {
		return strings.ReplaceAll(k.State, "-", " ")
	}
	return "deleted on " + k.DeleteAt.Local().Format(time.DateTime)
}

func keyRotateCommand() *cli.Command {
	return &cli.Command{
		Name:      "rotate",
		Usage:     "give a key a new version",
		ArgsUsage: "KEY",
		Description: `New data keys are made under the new version, and those that are there are moved
to it; objects are not touched, so this takes seconds whatever the store holds.
Older versions stay: what a backup of the store holds under them goes on opening.
Without a daemon the data keys are moved when the store is opened next.`,
		Flags: keyFlags(),
		Action: func(c *cli.Context) error {
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyRotate})
			if err != nil {
				return err
			}
			k := r.Keys[0]
			if r.Later {
				fmt.Fprintf(c.App.Writer, "key %s has version %d now; its data keys are moved to it when the store is opened next\n", k.Name, k.Version)
				return nil
			}
			fmt.Fprintf(c.App.Writer, "key %s has version %d now, and %d data keys were moved to it\n", k.Name, k.Version, r.Moved)
			return nil
		},
	}
}

func keyDisableCommand() *cli.Command {
	return &cli.Command{
		Name:      "disable",
		Usage:     "lock what is encrypted under a key",
		ArgsUsage: "KEY",
		Description: `Objects under the key can be listed, renamed and removed, and neither read nor
written, through both doors: S3 answers KMS.DisabledException, opening the file
in a mount fails with ENOKEY (required key not available). A file that a program
has open stays open. coffer key enable undoes it.`,
		Flags: keyFlags(),
		Action: func(c *cli.Context) error {
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyDisable})
			if err == nil {
				fmt.Fprintf(c.App.Writer, "key %s is disabled: what is encrypted under it is locked until coffer key enable\n", r.Keys[0].Name)
			}
			return err
		},
	}
}

func keyEnableCommand() *cli.Command {
	return &cli.Command{
		Name:      "enable",
		Usage:     "undo coffer key disable",
		ArgsUsage: "KEY",
		Flags:     keyFlags(),
		Action: func(c *cli.Context) error {
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyEnable})
			if err == nil {
				fmt.Fprintf(c.App.Writer, "key %s is enabled\n", r.Keys[0].Name)
			}
			return err
		},
	}
}

func keyDeleteCommand() *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "delete a key, and with it what is encrypted under it, after a grace period",
		ArgsUsage: "KEY",
		Description: fmt.Sprintf(`Locks the key at once, as coffer key disable does, and erases it when %d to %d
days have passed, by a running daemon or the next one. What only it could open is
lost then, for ever. Until then coffer key cancel-delete takes it back.

What survives: names, sizes, times and attributes of the objects; copies of them
that were made under other keys; and backups of the keystore, which hold the key.`, mount.MinPendingDays, mount.MaxPendingDays),
		Flags: keyFlags(&cli.IntFlag{
			Name: "pending-days", Usage: fmt.Sprintf("`DAYS` of grace, %d to %d", mount.MinPendingDays, mount.MaxPendingDays),
			Value: mount.DefaultPendingDays, EnvVars: []string{"COFFER_PENDING_DAYS"},
		}),
		Action: func(c *cli.Context) error {
			days := c.Int("pending-days")
			if days < mount.MinPendingDays || days > mount.MaxPendingDays {
				return usagef("--pending-days is a number from %d to %d, not %d", mount.MinPendingDays, mount.MaxPendingDays, days)
			}
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyDelete, PendingDays: days})
			if err != nil {
				return err
			}
			k := r.Keys[0]
			what := "what is encrypted under it"
			if k.DataKeys != nil {
				what = "what is under its " + count(*k.DataKeys, "data key")
			}
			fmt.Fprintf(c.App.Writer, "key %s is locked, and will be erased on %s: %s is lost then\n", k.Name, k.DeleteAt.Local().Format(time.DateTime), what)
			fmt.Fprintf(c.App.Writer, "  coffer key cancel-delete %s keeps it\n", k.Name)
			return nil
		},
	}
}

func keyCancelDeleteCommand() *cli.Command {
	return &cli.Command{
		Name:      "cancel-delete",
		Usage:     "take coffer key delete back",
		ArgsUsage: "KEY",
		Description: `The key is disabled then, as AWS has it: coffer key enable makes it usable.
Once a key has been erased nothing brings it back.`,
		Flags: keyFlags(),
		Action: func(c *cli.Context) error {
			r, err := runKey(c, mount.KeyRequest{Action: mount.KeyCancelDelete})
			if err == nil {
				fmt.Fprintf(c.App.Writer, "key %s will not be deleted; it is disabled until coffer key enable\n", r.Keys[0].Name)
			}
			return err
		},
	}
}
