package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
	"github.com/cofferfs/coffer/objstore"
)

func userCommand() *cli.Command {
	return &cli.Command{
		Name:      "user",
		Usage:     "manage users of the S3 server, their access keys and policies",
		UsageText: "coffer user add|list|remove|disable|enable|key|policy [--store DIR] [NAME] [...]",
		Description: `Users have access keys of their own and may do what their policies, or those of
buckets, allow. The access key that coffer env prints may do everything.

   coffer user add laptop --policy backup --bucket backups
   coffer user key rotate laptop

The daemon is asked if one has the store open, and what is changed counts for the
next request; otherwise the store is opened here, with --key-file or
--passphrase-file. Secrets are sealed in the store, and shown once: when they are
made. coffer user COMMAND --help tells about each.`,
		Action: subcommandHelp("user"),
		Subcommands: []*cli.Command{
			userAddCommand(), userListCommand(), userRemoveCommand(),
			userStateCommand("disable", "take a user's access keys and sessions out of force", mount.UserDisable, "their access keys do not work until coffer user enable"),
			userStateCommand("enable", "undo coffer user disable", mount.UserEnable, "their access keys work"),
			userKeyCommand(), userPolicyCommand(),
		},
	}
}

// runUser asks for an action on the user that is the first argument, of most.
func runUser(c *cli.Context, q mount.UserRequest, most int) (mount.UserReply, error) {
	switch {
	case c.Args().First() == "":
		return mount.UserReply{}, usagef("%s needs the name of a user", c.Command.Name)
	case c.NArg() > most:
		return mount.UserReply{}, usagef("%s was given %d arguments too many: %q", c.Command.Name, c.NArg()-most, c.Args().Get(most))
	}
	q.User = c.Args().First()
	r, err := mount.RunUser(c.Context, config(c), q)
	printNotes(c.App.ErrWriter, r.Notes...)
	return r, err
}

func userAddCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "make a user with an access key",
		ArgsUsage: "NAME",
		Description: `Makes a user and prints their access key. Its secret is not shown again. Without
--policy the user may do what policies of buckets allow them, and nothing else.
` + policyHelp + `

   coffer user add laptop --policy backup --bucket backups`,
		Flags: keyFlags(&cli.StringSliceFlag{Name: "policy", Usage: "`POLICY` of the user; can be given several times", EnvVars: []string{"COFFER_POLICY"}}, bucketFlag, jsonFlag),
		Action: func(c *cli.Context) error {
			list, err := policies(c.StringSlice("policy"), c.StringSlice("bucket"))
			if err != nil {
				return err
			}
			r, err := runUser(c, mount.UserRequest{Action: mount.UserAdd, Policies: list}, 1)
			return printNewKey(c, r, err)
		},
	}
}

func userListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list all users",
		Description: `With --json the answer is one array of objects: name, id, arn, created, disabled,
keys (of id and created), policies (of name and buckets).`,
		Flags: keyFlags(jsonFlag),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			r, err := mount.RunUser(c.Context, config(c), mount.UserRequest{Action: mount.UserList})
			if err != nil {
				return err
			}
			if c.Bool("json") {
				if r.Users == nil {
					r.Users = []objstore.User{}
				}
				return printJSON(c.App.Writer, r.Users)
			}
			w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tKEYS\tCREATED\tPOLICIES")
			for _, u := range r.Users {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", u.Name, userState(u), len(u.Keys), u.Created.Local().Format(time.DateOnly), orDash(policyNames(u.Policies)))
			}
			return w.Flush()
		},
	}
}

func userState(u objstore.User) string {
	switch {
	case u.Damaged:
		return "damaged"
	case u.Disabled:
		return "disabled"
	}
	return "enabled"
}

func userRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "remove a user with their access keys and sessions",
		ArgsUsage: "NAME",
		Description: `What the user stored stays. Policies of buckets that name them as a principal
show their id from then on; a later user of that name has no part in them.`,
		Flags: keyFlags(),
		Action: func(c *cli.Context) error {
			_, err := runUser(c, mount.UserRequest{Action: mount.UserRemove}, 1)
			if err == nil {
				fmt.Fprintf(c.App.Writer, "user %s is removed\n", c.Args().First())
			}
			return err
		},
	}
}

func userStateCommand(name, usage string, action mount.UserAction, says string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NAME", Flags: keyFlags(),
		Action: func(c *cli.Context) error {
			_, err := runUser(c, mount.UserRequest{Action: action}, 1)
			if err == nil {
				fmt.Fprintf(c.App.Writer, "user %s is %sd: %s\n", c.Args().First(), name, says)
			}
			return err
		},
	}
}
