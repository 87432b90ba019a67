package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/cofferfs/coffer/mount"
)

const description = `coffer keeps files in one encrypted store and opens two doors to it at the
same time: a directory that you mount, and an S3 server. A file is an object
and an object is a file.

   mkdir ~/box && coffer mount ~/box     make a store and mount it
   eval "$(coffer env)" && aws s3 ls     the same files through S3
   coffer umount ~/box                   flush everything and unmount

Every flag can be given as a variable, COFFER_ and the flag's name
(COFFER_STORE, COFFER_READ_ONLY, ...); the flag wins. A variable holds one value,
also of a flag that can be given several times.
`

// run is the whole program. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not heed the first
	out := &output{w: stdout}
	app := newApp(out, stderr)
	args, err := flagsFirst(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if err == nil {
		err = out.err
	}
	return report(stderr, err)
}

// output is standard output. What a command prints is what it was called for, a
// secret that is shown once for example: if it cannot be written the command has
// failed.
type output struct {
	w   io.Writer
	err error // the first
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// told is standard output for what only tells what was done, which stands whether
// that can be written or not: a mount that is there is no failed one.
func told(c *cli.Context) io.Writer { return c.App.Writer.(*output).w }

func newApp(stdout *output, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                   "coffer",
		Usage:                  "an encrypted store with two doors: a mount and S3",
		Description:            description + exitCodes,
		Version:                version(),
		HideVersion:            true, // the command says it
		Writer:                 stdout,
		ErrWriter:              stderr,
		UseShortOptionHandling: false,
		ExitErrHandler:         func(*cli.Context, error) {}, // run reports
		OnUsageError:           onUsageError,
		CommandNotFound:        nil,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("there is no command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			mountCommand(), serveCommand(), umountCommand(), envCommand(),
			initCommand(), statusCommand(), fsckCommand(), bucketCommand(), keyCommand(), userCommand(), versionCommand(),
		},
	}
	app.DisableSliceFlagSeparator = true // a comma is a part of a file's name
	reportUsage(app.Commands)
	return app
}

// reportUsage has mistakes in the flags of commands, and of theirs, reported as
// all others are.
func reportUsage(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		reportUsage(c.Subcommands)
	}
}

func onUsageError(_ *cli.Context, err error, _ bool) error { return usagef("%v", err) }

// Flags that several commands share.
var (
	storeFlag = &cli.StringFlag{
		Name: "store", Usage: "`DIR` of the store", EnvVars: []string{"COFFER_STORE"},
		DefaultText: "$XDG_DATA_HOME/coffer, for root /var/lib/coffer",
	}
	listenFlag = &cli.StringFlag{
		Name: "listen", Usage: "`ADDR` of the S3 server; port 0 picks a free one, which status and env show",
		EnvVars: []string{"COFFER_LISTEN"}, DefaultText: mount.DefaultListen,
	}
	httpFlag = &cli.StringFlag{
		Name: "http", Usage: "`ADDR` of a second S3 server without TLS, which takes no customer's keys and serves nothing under SSE-KMS",
		EnvVars: []string{"COFFER_HTTP"}, DefaultText: "none",
	}
	keyFileFlag = &cli.StringFlag{
		Name: "key-file", Usage: "`FILE` with the key of the store; made if it does not exist when the store is made",
		EnvVars: []string{"COFFER_KEY_FILE"}, DefaultText: "$XDG_CONFIG_HOME/coffer/keys/ID.key, for root without that variable /etc/coffer/keys/ID.key",
	}
	passphraseFlag = &cli.StringFlag{
		Name: "passphrase-file", Usage: "`FILE` with the passphrase of the store, in place of a key file",
		EnvVars: []string{"COFFER_PASSPHRASE_FILE"},
	}
	debugFlag = &cli.BoolFlag{Name: "debug", Usage: "log every S3 request, names and all, and more", EnvVars: []string{"COFFER_DEBUG"}, Hidden: true}
)

// config is what the shared flags say.
func config(c *cli.Context) mount.Config {
	return mount.Config{
		Store:          c.String("store"),
		Listen:         c.String("listen"),
		ListenGiven:    c.String("listen") != "",
		HTTP:           c.String("http"),
		KeyFile:        c.String("key-file"),
		PassphraseFile: c.String("passphrase-file"),
		Guard:          true,
		Debug:          c.Bool("debug"),
	}
}

// subcommandHelp is the action of a command that has commands below it.
func subcommandHelp(name string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return usagef("there is no command %q", name+" "+c.Args().First())
		}
		return cli.ShowSubcommandHelp(c)
	}
}

// noArgs refuses arguments.
func noArgs(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%s takes no argument, but was given %q", c.Command.Name, c.Args().First())
	}
	return nil
}

// oneArg returns the only argument.
func oneArg(c *cli.Context, what string) (string, error) {
	switch {
	case c.NArg() == 0 || c.NArg() == 1 && c.Args().First() == "":
		return "", usagef("%s needs a %s", c.Command.Name, what)
	case c.NArg() == 1:
		return c.Args().First(), nil
	}
	return "", usagef("%s takes one %s, but was given %d arguments", c.Command.Name, what, c.NArg())
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version",
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			fmt.Fprintln(c.App.Writer, "coffer", version())
			return nil
		},
	}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
