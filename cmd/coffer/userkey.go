package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
	"github.com/cofferfs/coffer/objstore"
)

func userKeyCommand() *cli.Command {
	keyArg := func(c *cli.Context) string { return c.Args().Get(1) }
	return &cli.Command{
		Name:      "key",
		Usage:     "manage a user's access keys",
		UsageText: "coffer user key add|list|rotate|remove [--store DIR] NAME [KEY]",
		Description: fmt.Sprintf(`A user has up to %d access keys, which may all do the same. KEY is an access key
id, as coffer user key list shows it.`, objstore.MaxUserKeys),
		Action: subcommandHelp("user key"),
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "give a user one more access key", ArgsUsage: "NAME", Flags: keyFlags(jsonFlag),
				Action: func(c *cli.Context) error {
					r, err := runUser(c, mount.UserRequest{Action: mount.UserKeyAdd}, 1)
					return printNewKey(c, r, err)
				},
			},
			{
				Name: "list", Usage: "list a user's access keys, without their secrets", ArgsUsage: "NAME", Flags: keyFlags(jsonFlag),
				Action: func(c *cli.Context) error {
					r, err := runUser(c, mount.UserRequest{Action: mount.UserShow}, 1)
					if err != nil {
						return err
					}
					if c.Bool("json") {
						return printJSON(c.App.Writer, r.Users[0].Keys)
					}
					w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
					fmt.Fprintln(w, "KEY\tCREATED")
					for _, k := range r.Users[0].Keys {
						fmt.Fprintf(w, "%s\t%s\n", k.ID, k.Created.Local().Format(time.DateTime))
					}
					return w.Flush()
				},
			},
			{
				Name: "rotate", Usage: "replace an access key by a new one", ArgsUsage: "NAME [KEY]", Flags: keyFlags(jsonFlag),
				Description: `The old key, and every session that was begun with it, stops working at once. To
keep both for a while use add, and remove later. KEY can be left out if the user
has one alone.`,
				Action: func(c *cli.Context) error {
					r, err := runUser(c, mount.UserRequest{Action: mount.UserKeyRotate, Key: keyArg(c)}, 2)
					return printNewKey(c, r, err)
				},
			},
			{
				Name: "remove", Usage: "remove an access key of a user, and the sessions that it began", ArgsUsage: "NAME KEY", Flags: keyFlags(),
				Action: func(c *cli.Context) error {
					if c.NArg() < 2 || keyArg(c) == "" {
						return usagef("remove needs the name of a user and an access key id")
					}
					_, err := runUser(c, mount.UserRequest{Action: mount.UserKeyRemove, Key: keyArg(c)}, 2)
					if err == nil {
						fmt.Fprintf(c.App.Writer, "access key %s of user %s is removed\n", keyArg(c), c.Args().First())
					}
					return err
				},
			},
		},
	}
}

// printNewKey prints a key that was made, as the two lines of a credentials
// file.
func printNewKey(c *cli.Context, r mount.UserReply, err error) error {
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r.Key)
	}
	fmt.Fprintf(c.App.Writer, "aws_access_key_id = %s\naws_secret_access_key = %s\n", r.Key.ID, r.Key.Secret)
	fmt.Fprintln(c.App.ErrWriter, "coffer: note: the secret is shown this once")
	return nil
}
