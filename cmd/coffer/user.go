package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
	"github.com/cofferfs/coffer/objstore"
)

// maxPolicyFile bounds what is read of a policy's file, in bytes.
const maxPolicyFile = 64 << 10

const policyHelp = `POLICY is one of

   readonly    list and get
   readwrite   everything
   backup      list, get, and put new objects: never delete or overwrite

or a file with a policy in IAM's JSON language. --bucket restricts those that
have a name to a bucket.`

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
			userStateCommand("disable", "take a user's access keys and sessions out of force", mount.UserDisable, "his access keys do not work until coffer user enable"),
			userStateCommand("enable", "undo coffer user disable", mount.UserEnable, "his access keys work"),
			userKeyCommand(), userPolicyCommand(),
		},
	}
}

var bucketFlag = &cli.StringSliceFlag{
	Name: "bucket", Usage: "`BUCKET` that a policy with a name is about; can be given several times", EnvVars: []string{"COFFER_BUCKET"}, DefaultText: "all",
}

// runUser asks for an action on the user that is the first argument, of most.
func runUser(c *cli.Context, q mount.UserRequest, most int) (mount.UserReply, error) {
	switch {
	case c.NArg() == 0:
		return mount.UserReply{}, usagef("%s needs the name of a user", c.Command.Name)
	case c.NArg() > most:
		return mount.UserReply{}, usagef("%s was given %d arguments too many: %q", c.Command.Name, c.NArg()-most, c.Args().Get(most))
	}
	q.User = c.Args().First()
	return mount.RunUser(c.Context, config(c), q)
}

// policies reads what --policy or arguments say.
func policies(list, buckets []string) ([]objstore.UserPolicy, error) {
	out := make([]objstore.UserPolicy, 0, len(list))
	named := false
	for _, p := range list {
		switch p {
		case "readonly", "readwrite", "backup":
			named = true
			out = append(out, objstore.UserPolicy{Name: p, Buckets: buckets})
			continue
		}
		text, err := readPolicy(p)
		if err != nil {
			return nil, err
		}
		out = append(out, objstore.UserPolicy{Name: strings.TrimSuffix(filepath.Base(p), ".json"), Document: text})
	}
	if len(buckets) > 0 && !named {
		return nil, usagef("--bucket goes with readonly, readwrite or backup; a policy of your own says itself what it is about")
	}
	return out, nil
}

func readPolicy(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", usagef("policy %q is neither readonly, readwrite or backup nor a file", path)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyFile+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxPolicyFile:
		return "", fmt.Errorf("policy %q is over 64 KiB", path)
	case len(text) == 0:
		return "", fmt.Errorf("policy %q is empty", path)
	}
	return string(text), nil
}

func userAddCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "make a user with an access key",
		ArgsUsage: "NAME",
		Description: `Makes a user and prints his access key. Its secret is not shown again. Without
--policy the user may do what policies of buckets allow him, and nothing else.
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
	fmt.Fprintln(c.App.ErrWriter, "note: the secret is shown this once")
	return nil
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

// policyNames are the names of policies, each with its buckets.
func policyNames(list []objstore.UserPolicy) string {
	names := make([]string, len(list))
	for i, p := range list {
		if names[i] = p.Name; len(p.Buckets) > 0 {
			names[i] += "(" + strings.Join(p.Buckets, ",") + ")"
		}
	}
	return strings.Join(names, " ")
}

func userRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "remove a user with his access keys and sessions",
		ArgsUsage: "NAME",
		Description: `What the user stored stays. Policies of buckets that name him go on naming him:
a later user of that name meets them.`,
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
					if c.NArg() < 2 {
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

func userPolicyCommand() *cli.Command {
	return &cli.Command{
		Name:      "policy",
		Usage:     "manage what a user may do",
		UsageText: "coffer user policy set|show|remove [--store DIR] NAME [POLICY...]",
		Description: `A user may do what one of his policies allows and none denies.
` + policyHelp,
		Action: subcommandHelp("user policy"),
		Subcommands: []*cli.Command{
			{
				Name: "set", Usage: "replace a user's policies", ArgsUsage: "NAME POLICY...", Description: policyHelp,
				Flags: keyFlags(bucketFlag),
				Action: func(c *cli.Context) error {
					if c.NArg() < 2 {
						return usagef("set needs the name of a user and a policy")
					}
					list, err := policies(c.Args().Slice()[1:], c.StringSlice("bucket"))
					if err != nil {
						return err
					}
					r, err := runUser(c, mount.UserRequest{Action: mount.UserPolicySet, Policies: list}, c.NArg())
					if err == nil {
						fmt.Fprintf(c.App.Writer, "policies of user %s: %s\n", c.Args().First(), policyNames(r.Users[0].Policies))
					}
					return err
				},
			},
			{
				Name: "show", Usage: "print a user's policies", ArgsUsage: "NAME", Flags: keyFlags(jsonFlag),
				Description: "With --json the answer is one array of objects: name, buckets, document.",
				Action: func(c *cli.Context) error {
					r, err := runUser(c, mount.UserRequest{Action: mount.UserShow}, 1)
					if err != nil {
						return err
					}
					list := r.Users[0].Policies
					if c.Bool("json") {
						if list == nil {
							list = []objstore.UserPolicy{}
						}
						return printJSON(c.App.Writer, list)
					}
					for _, p := range list {
						fmt.Fprintf(c.App.Writer, "%s\n%s\n", policyNames([]objstore.UserPolicy{p}), strings.TrimSpace(p.Document))
					}
					return nil
				},
			},
			{
				Name: "remove", Usage: "remove a user's policies: he may then do what those of buckets allow him", ArgsUsage: "NAME", Flags: keyFlags(),
				Action: func(c *cli.Context) error {
					_, err := runUser(c, mount.UserRequest{Action: mount.UserPolicyRemove}, 1)
					if err == nil {
						fmt.Fprintf(c.App.Writer, "user %s has no policies\n", c.Args().First())
					}
					return err
				},
			},
		},
	}
}
