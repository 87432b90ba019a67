package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// backgroundEnv tells a process that it is a daemon in the background. Its
// standard input is a backgroundConfig, its descriptor readyFD a pipe for one
// backgroundResult. The command line is that of its parent, for people who look
// at the process list.
const backgroundEnv = "COFFER_BACKGROUND"

const readyFD = 3

type backgroundConfig struct {
	Config  Config
	Request MountRequest
}

// backgroundResult says how the start went.
type backgroundResult struct {
	Report StartReport
	Mount  MountInfo
	Failed *apiError `json:",omitempty"`
}

// IsBackground reports whether this process was started by startBackground and
// should do nothing but RunBackground.
func IsBackground() bool { return os.Getenv(backgroundEnv) != "" }

// startBackground starts a daemon in a session of its own, waits until its
// first mount is usable, and leaves it alone.
func startBackground(ctx context.Context, cfg Config, r MountRequest) (StartReport, MountInfo, error) {
	fail := func(err error) (StartReport, MountInfo, error) { return StartReport{}, MountInfo{}, err }
	if cfg.LogFile == "" {
		path, err := DefaultLogFile(cfg.Store)
		if err != nil {
			return fail(err)
		}
		cfg.LogFile = path
	}
	text, err := encodeRequest(backgroundConfig{cfg, r})
	if err != nil {
		return fail(err)
	}
	config := &wipedReader{rest: text}
	defer config.Close()
	log, err := openLogFile(cfg.LogFile)
	if err != nil {
		return fail(hinted(err, "set XDG_STATE_HOME to a directory that can be written to, or mount with --foreground"))
	}
	defer log.f.Close()
	ready, theirs, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer ready.Close()
	cmd := backgroundCommand(config, log.f, theirs)
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return fail(fmt.Errorf("start the daemon: %w", err))
	}
	res, err := awaitReady(ctx, cmd, ready, cfg.LogFile)
	if err != nil {
		return fail(err)
	}
	res.Report.LogFile = cfg.LogFile
	return res.Report, res.Mount, cmd.Process.Release()
}

// backgroundCommand is a process that runs RunBackground.
func backgroundCommand(config io.Reader, log, ready *os.File) *exec.Cmd {
	// The link is right even if the binary has been replaced meanwhile.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), backgroundEnv+"=1")
	cmd.Dir = "/"
	cmd.Stdin = config
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{ready} // readyFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// awaitReady returns what a daemon says of its start. With an error the daemon has
// ended; when ctx ends first it is made to.
func awaitReady(ctx context.Context, cmd *exec.Cmd, ready io.Reader, logFile string) (res backgroundResult, err error) {
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(ready, maxAdminBody))
		answered <- answer{text, err}
	}()
	var got answer
	select {
	case got = <-answered:
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-answered
		_ = cmd.Wait()
		return res, errors.New("interrupted")
	}
	if got.err != nil || json.Unmarshal(got.text, &res) != nil {
		err := cmd.Wait()
		return res, hinted(fmt.Errorf("the daemon ended before it was ready (%v)", err), "its log is "+logFile)
	}
	if res.Failed != nil {
		_ = cmd.Wait()
		return res, res.Failed.problem()
	}
	return res, nil
}

// nameProcess gives a process that was started as /proc/self/exe the program's name
// (proc_pid_comm(5)), which ps and top would show as "exe" otherwise.
func nameProcess() { _ = os.WriteFile("/proc/self/comm", []byte("coffer"), 0) }

// RunBackground is the whole life of a daemon in the background. It returns the
// exit code of the process.
func RunBackground() int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGHUP)
	os.Unsetenv(backgroundEnv)
	nameProcess()
	unix.CloseOnExec(readyFD)
	ready := os.NewFile(readyFD, "ready")
	reply := func(r backgroundResult) {
		_ = json.NewEncoder(ready).Encode(r)
		ready.Close()
	}
	fail := func(err error) int {
		reply(backgroundResult{Failed: newAPIError(err)})
		return 1
	}
	var c backgroundConfig
	if err := decodeRequest(os.Stdin, &c); err != nil {
		return fail(fmt.Errorf("configuration: %w", err))
	}
	if null, err := os.Open(os.DevNull); err == nil {
		_ = unix.Dup3(int(null.Fd()), 0, 0)
		null.Close()
	}
	logs, err := openLogFile(c.Config.LogFile)
	if err != nil {
		return fail(err)
	}
	logs.takeStdio()
	log := newLogger(logs, c.Config.Debug)
	d, report, info, err := startWithMount(context.Background(), c.Config, c.Request, log)
	wipeRequest(&c)
	if err != nil {
		log.Error("cannot start", "error", err)
		return fail(err)
	}
	reply(backgroundResult{Report: report, Mount: info})
	if err := d.Run(signals); err != nil {
		log.Error("ended", "error", err)
		return 1
	}
	return 0
}
