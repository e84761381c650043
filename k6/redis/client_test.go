package redis

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/metrics"
)

// server answers each command by what `reply` makes of its words, and tells the words.
func server(t *testing.T, reply func(words []string) string) (string, <-chan []string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	seen := make(chan []string, 100)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection, reply, seen)
		}
	}()
	return "redis://" + listener.Addr().String(), seen
}

func serve(connection net.Conn, reply func(words []string) string, seen chan<- []string) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		var count int
		if _, err := fmt.Fscanf(reader, "*%d\r\n", &count); err != nil {
			return
		}
		words := make([]string, count)
		for i := range words {
			var length int
			if _, err := fmt.Fscanf(reader, "$%d\r\n", &length); err != nil {
				return
			}
			word := make([]byte, length+2)
			for at := 0; at < len(word); {
				n, err := reader.Read(word[at:])
				if err != nil {
					return
				}
				at += n
			}
			words[i] = string(word[:length])
		}
		if strings.EqualFold(words[0], "hello") || strings.EqualFold(words[0], "client") {
			fmt.Fprint(connection, "-ERR unknown command\r\n")
			continue
		}
		seen <- words
		fmt.Fprint(connection, reply(words))
	}
}

// vu is a VU with the module, in its iteration.
func vu(t *testing.T) *modulestest.Runtime {
	t.Helper()
	runtime := modulestest.NewRuntime(t)
	require.NoError(t, runtime.SetupModuleSystem(map[string]any{"k6/x/redis": New()}, nil, nil))
	_, err := runtime.VU.Runtime().RunString(`var redis = require("k6/x/redis")`)
	require.NoError(t, err)
	return runtime
}

func running(t *testing.T, runtime *modulestest.Runtime) {
	t.Helper()
	registry := metrics.NewRegistry()
	runtime.MoveToVUContext(&lib.State{
		Dialer:  netext.NewDialer(net.Dialer{}, nil),
		Samples: make(chan metrics.SampleContainer, 100),
		Tags:    lib.NewVUStateTags(registry.RootTagSet()),
	})
}

func TestACommandIsSentAndItsReplyPromised(t *testing.T) {
	t.Parallel()
	url, seen := server(t, func([]string) string { return "$3\r\n1-0\r\n" })
	runtime := vu(t)
	running(t, runtime)
	value, err := runtime.RunOnEventLoop(fmt.Sprintf(`
		const client = new redis.Client(%q);
		var reply;
		client.sendCommand('XADD', 'a', 'MAXLEN', '~', 10, '*', 'data', 'hello').then((id) => { reply = id; });
	`, url))
	require.NoError(t, err)
	_ = value
	require.Equal(t, []string{"XADD", "a", "MAXLEN", "~", "10", "*", "data", "hello"}, <-seen)
	require.Equal(t, "1-0", runtime.VU.Runtime().Get("reply").String())
}

func TestAnErrorRejectsAndNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	url, seen := server(t, func([]string) string { return "-OOM command not allowed\r\n" })
	runtime := vu(t)
	running(t, runtime)
	_, err := runtime.RunOnEventLoop(fmt.Sprintf(`
		const client = new redis.Client(%q);
		var failed;
		client.sendCommand('XADD', 'a', '*', 'data', 'x').catch((error) => { failed = String(error); });
	`, url))
	require.NoError(t, err)
	require.Contains(t, runtime.VU.Runtime().Get("failed").String(), "OOM")
	<-seen
	require.Empty(t, seen)
}

func TestNothingIsNullAndAnObjectIsNoArgument(t *testing.T) {
	t.Parallel()
	url, _ := server(t, func([]string) string { return "$-1\r\n" })
	runtime := vu(t)
	running(t, runtime)
	_, err := runtime.RunOnEventLoop(fmt.Sprintf(`
		const client = new redis.Client(%q);
		var got = 1, failed;
		client.sendCommand('GET', 'a').then((value) => { got = value; });
		client.sendCommand('GET', {}).catch((error) => { failed = String(error); });
	`, url))
	require.NoError(t, err)
	require.True(t, runtime.VU.Runtime().Get("got").ExportType() == nil)
	require.Contains(t, runtime.VU.Runtime().Get("failed").String(), "no string, number or boolean")
}

func TestAUrlThatIsNoneIsNotRepeated(t *testing.T) {
	t.Parallel()
	_, err := vu(t).VU.Runtime().RunString(`new redis.Client("http://user:secret@h")`)
	require.ErrorContains(t, err, "not a URL")
	require.NotContains(t, err.Error(), "secret")
}
