# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_otop_global_optspecs
    string join \n pid= session-from= agent-from= tenant-from= children socket= once json refresh-rate= sort= status= agent= tenant= columns= window= slow-window= rate= stack-rate= no-bpf own= slow-threshold= pause h/help V/version
end

function __fish_otop_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_otop_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_otop_using_subcommand
    set -l cmd (__fish_otop_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c otop -n "__fish_otop_needs_command" -l pid -d 'Process to watch; the table takes several [default: the only asyncio worker here, or a choice]' -r
complete -c otop -n "__fish_otop_needs_command" -l session-from -d 'Where the session\'s id stands; several: the first that fits wins [default: as the packages in use keep it]' -r
complete -c otop -n "__fish_otop_needs_command" -l agent-from -d 'Where the agent\'s name stands' -r
complete -c otop -n "__fish_otop_needs_command" -l tenant-from -d 'Where the tenant\'s name stands' -r
complete -c otop -n "__fish_otop_needs_command" -l socket -d 'Show what the worker itself serves at its OpenRTC introspection socket' -r -F
complete -c otop -n "__fish_otop_needs_command" -l refresh-rate -d 'Pictures a second of the live table, 0.5 to 10' -r
complete -c otop -n "__fish_otop_needs_command" -l sort -d 'Column to sort by; in the live table key s goes on' -r -f -a "mem_mb\t''
cpu_pct\t''
duration_s\t''
agent_name\t''
session_id\t''
tenant\t''
peak_mb\t''
status\t''
loop_pct\t''
blocked_ms\t''
worst_block_ms\t''
tasks\t''
where\t''"
complete -c otop -n "__fish_otop_needs_command" -l status -d 'Show only sessions in this state; in the live table key f goes on' -r -f -a "all\t''
active\t''
slow\t''
draining\t''
errored\t''"
complete -c otop -n "__fish_otop_needs_command" -l agent -d 'Show only sessions of this agent' -r
complete -c otop -n "__fish_otop_needs_command" -l tenant -d 'Show only sessions of this tenant' -r
complete -c otop -n "__fish_otop_needs_command" -l columns -d 'Columns to show, in this order, with commas between them: session, agent, tenant, dur, mem, peak, cpu, status, pin, loop, blocked, worst, tasks, where' -r
complete -c otop -n "__fish_otop_needs_command" -l window -d 'Stretch of time that a percentage is about, 100ms to 10m' -r
complete -c otop -n "__fish_otop_needs_command" -l slow-window -d 'How long a session stays slow after it has blocked the loop, 100ms to 1h [default: 5s]' -r
complete -c otop -n "__fish_otop_needs_command" -l rate -d 'Samples a second of session and step, 1 to 10000' -r
complete -c otop -n "__fish_otop_needs_command" -l stack-rate -d 'Full stacks a second, 1 to 10000' -r
complete -c otop -n "__fish_otop_needs_command" -l own -d 'Files that begin with this are own code, wherever they are installed; may be given more than once' -r
complete -c otop -n "__fish_otop_needs_command" -l slow-threshold -d 'From which length on a standing loop counts as blocked, 1ms to 1m [default: 50ms]' -r
complete -c otop -n "__fish_otop_needs_command" -l children -d 'The whole pool: every asyncio worker below the process, as they come and go'
complete -c otop -n "__fish_otop_needs_command" -l once -d 'Watch for one window, print the table, exit'
complete -c otop -n "__fish_otop_needs_command" -l json -d 'One JSON document per window, a line each; with --once a single one'
complete -c otop -n "__fish_otop_needs_command" -l no-bpf -d 'Load no BPF program: full stacks are read from the CPU of the worker\'s thread'
complete -c otop -n "__fish_otop_needs_command" -l pause -d 'Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown'
complete -c otop -n "__fish_otop_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_needs_command" -s V -l version -d 'Print version'
complete -c otop -n "__fish_otop_needs_command" -f -a "blocks" -d 'Follow the blocks of the event loop, a line each, as they happen'
complete -c otop -n "__fish_otop_needs_command" -f -a "dump" -d 'Show once where every task of every session runs or waits'
complete -c otop -n "__fish_otop_needs_command" -f -a "vars" -d 'List the contextvars in live tasks, and which would name sessions as a ready --session-from'
complete -c otop -n "__fish_otop_needs_command" -f -a "record" -d 'Record for a time into a file: a flame graph, a profile, or everything'
complete -c otop -n "__fish_otop_needs_command" -f -a "replay" -d 'Show a recording as if it were live: the table, blocks, dumps, and every other format'
complete -c otop -n "__fish_otop_needs_command" -f -a "diff" -d 'Compare two recordings, or two sessions of one, function by function'
complete -c otop -n "__fish_otop_needs_command" -f -a "demo" -d 'Start the bundled sample worker and watch it; without a terminal, print one snapshot'
complete -c otop -n "__fish_otop_needs_command" -f -a "doctor" -d 'Say everything that decides whether attaching works, and what mends it'
complete -c otop -n "__fish_otop_using_subcommand blocks" -l pid -d 'Process to watch; the table takes several [default: the only asyncio worker here, or a choice]' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l session-from -d 'Where the session\'s id stands; several: the first that fits wins [default: as the packages in use keep it]' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l agent-from -d 'Where the agent\'s name stands' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l tenant-from -d 'Where the tenant\'s name stands' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l for -d 'End after this time, 100ms to 168h [default: with q, Ctrl-C or the worker]' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l fail-on -d 'End with exit status 7 if there was a block of this length, 1ms to 1h' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l rate -d 'Samples a second of session and step, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l stack-rate -d 'Full stacks a second, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l own -d 'Files that begin with this are own code, wherever they are installed; may be given more than once' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l slow-threshold -d 'From which length on a standing loop counts as blocked, 1ms to 1m [default: 50ms]' -r
complete -c otop -n "__fish_otop_using_subcommand blocks" -l json -d 'One JSON object per event, a line each'
complete -c otop -n "__fish_otop_using_subcommand blocks" -l no-bpf -d 'Load no BPF program: full stacks are read from the CPU of the worker\'s thread'
complete -c otop -n "__fish_otop_using_subcommand blocks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_using_subcommand dump" -l pid -d 'Process to watch; the table takes several [default: the only asyncio worker here, or a choice]' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l session-from -d 'Where the session\'s id stands; several: the first that fits wins [default: as the packages in use keep it]' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l agent-from -d 'Where the agent\'s name stands' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l tenant-from -d 'Where the tenant\'s name stands' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l session -d 'Only the session with this id' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l agent -d 'Only sessions of this agent' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l tenant -d 'Only sessions of this tenant' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l own -d 'Files that begin with this are own code, wherever they are installed; may be given more than once' -r
complete -c otop -n "__fish_otop_using_subcommand dump" -l json -d 'One JSON document'
complete -c otop -n "__fish_otop_using_subcommand dump" -l pause -d 'Stop the worker while it is read, so that all of it is of one instant; how long is said'
complete -c otop -n "__fish_otop_using_subcommand dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_using_subcommand vars" -l pid -d 'Process to look at [default: the only asyncio worker here, or a choice]' -r
complete -c otop -n "__fish_otop_using_subcommand vars" -l values -d 'Show some of the values too; what may be a credential never is'
complete -c otop -n "__fish_otop_using_subcommand vars" -l json -d 'As one JSON document'
complete -c otop -n "__fish_otop_using_subcommand vars" -s h -l help -d 'Print help'
complete -c otop -n "__fish_otop_using_subcommand record" -l pid -d 'Process to watch; the table takes several [default: the only asyncio worker here, or a choice]' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l session-from -d 'Where the session\'s id stands; several: the first that fits wins [default: as the packages in use keep it]' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l agent-from -d 'Where the agent\'s name stands' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l tenant-from -d 'Where the tenant\'s name stands' -r
complete -c otop -n "__fish_otop_using_subcommand record" -s o -l output -d 'File to write; - is standard output' -r -F
complete -c otop -n "__fish_otop_using_subcommand record" -l format -d 'What to write [default: what the ending of FILE says]' -r -f -a "flamegraph\t'Interactive flame graph, an SVG for any browser'
folded\t'Folded stacks, a line each'
speedscope\t'For <https://www.speedscope.app>'
firefox\t'For <https://profiler.firefox.com>'
pprof\t'For pprof: gzipped protobuf'
otop\t'otop\'s own recording, which holds everything'"
complete -c otop -n "__fish_otop_using_subcommand record" -l for -d 'Record for this time, 100ms to 168h; Ctrl-C ends it early, and writes' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l mode -d 'What counts [default: wall]' -r -f -a "wall\t'Loop time: a session asleep in a system call on the loop is there, an idle loop is not'
cpu\t'Time on a CPU'
blocked\t'Only what kept the loop for longer than --slow-threshold'"
complete -c otop -n "__fish_otop_using_subcommand record" -l by -d 'What the roots are [default: session]' -r -f -a "session\t''
agent\t''
tenant\t''
none\t''"
complete -c otop -n "__fish_otop_using_subcommand record" -l session -d 'Only this session' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l agent -d 'Only sessions of this agent' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l tenant -d 'Only sessions of this tenant' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l rate -d 'Samples a second of session and step, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l stack-rate -d 'Full stacks a second, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l own -d 'Files that begin with this are own code, wherever they are installed; may be given more than once' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l slow-threshold -d 'From which length on a standing loop counts as blocked, 1ms to 1m [default: 50ms]' -r
complete -c otop -n "__fish_otop_using_subcommand record" -l force -d 'Replace FILE if it is there'
complete -c otop -n "__fish_otop_using_subcommand record" -l no-bpf -d 'Load no BPF program: full stacks are read from the CPU of the worker\'s thread'
complete -c otop -n "__fish_otop_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_using_subcommand replay" -l at -d 'How far into the recording: where the live table begins, the end of the window of --once, or when the dump was taken at the latest' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -s o -l output -d 'File to write another format into; - is standard output' -r -F
complete -c otop -n "__fish_otop_using_subcommand replay" -l format -d 'What to write [default: what the ending of FILE says]' -r -f -a "flamegraph\t'Interactive flame graph, an SVG for any browser'
folded\t'Folded stacks, a line each'
speedscope\t'For <https://www.speedscope.app>'
firefox\t'For <https://profiler.firefox.com>'
pprof\t'For pprof: gzipped protobuf'
otop\t'otop\'s own recording, which holds everything'"
complete -c otop -n "__fish_otop_using_subcommand replay" -l mode -d 'What counts [default: wall]' -r -f -a "wall\t'Loop time: a session asleep in a system call on the loop is there, an idle loop is not'
cpu\t'Time on a CPU'
blocked\t'Only what kept the loop for longer than --slow-threshold'"
complete -c otop -n "__fish_otop_using_subcommand replay" -l by -d 'What the roots are [default: session]' -r -f -a "session\t''
agent\t''
tenant\t''
none\t''"
complete -c otop -n "__fish_otop_using_subcommand replay" -l session -d 'Only this session' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l refresh-rate -d 'Pictures a second of the live table, 0.5 to 10' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l sort -d 'Column to sort by; in the live table key s goes on' -r -f -a "mem_mb\t''
cpu_pct\t''
duration_s\t''
agent_name\t''
session_id\t''
tenant\t''
peak_mb\t''
status\t''
loop_pct\t''
blocked_ms\t''
worst_block_ms\t''
tasks\t''
where\t''"
complete -c otop -n "__fish_otop_using_subcommand replay" -l status -d 'Show only sessions in this state; in the live table key f goes on' -r -f -a "all\t''
active\t''
slow\t''
draining\t''
errored\t''"
complete -c otop -n "__fish_otop_using_subcommand replay" -l agent -d 'Show only sessions of this agent' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l tenant -d 'Show only sessions of this tenant' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l columns -d 'Columns to show, in this order, with commas between them: session, agent, tenant, dur, mem, peak, cpu, status, pin, loop, blocked, worst, tasks, where' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l window -d 'Stretch of time that a percentage is about, 100ms to 10m' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l own -d 'Files that begin with this are own code, wherever they are installed; may be given more than once' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l rate -d 'Samples a second of session and step, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l stack-rate -d 'Full stacks a second, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l slow-threshold -d 'From which length on a standing loop counts as blocked, 1ms to 1m [default: as it was recorded]' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l slow-window -d 'How long a session stays slow after it has blocked the loop, 100ms to 1h [default: as it was recorded]' -r
complete -c otop -n "__fish_otop_using_subcommand replay" -l force -d 'Replace FILE if it is there'
complete -c otop -n "__fish_otop_using_subcommand replay" -l once -d 'Watch for one window, print the table, exit'
complete -c otop -n "__fish_otop_using_subcommand replay" -l json -d 'One JSON document per window, a line each; with --once a single one'
complete -c otop -n "__fish_otop_using_subcommand replay" -l no-bpf -d 'Load no BPF program: full stacks are read from the CPU of the worker\'s thread'
complete -c otop -n "__fish_otop_using_subcommand replay" -l pause -d 'Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown'
complete -c otop -n "__fish_otop_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_using_subcommand diff" -l session -d 'Look at this session of A; red is what it has more of' -r
complete -c otop -n "__fish_otop_using_subcommand diff" -l against -d 'Session of A that it is compared with' -r
complete -c otop -n "__fish_otop_using_subcommand diff" -l mode -d 'What counts' -r -f -a "wall\t'Loop time: a session asleep in a system call on the loop is there, an idle loop is not'
cpu\t'Time on a CPU'
blocked\t'Only what kept the loop for longer than --slow-threshold'"
complete -c otop -n "__fish_otop_using_subcommand diff" -l slow-threshold -d 'From which length on a standing loop counts as blocked, for --mode blocked [default: as it was recorded]' -r
complete -c otop -n "__fish_otop_using_subcommand diff" -l top -d 'Functions to show of the event loop, and as many of other threads' -r
complete -c otop -n "__fish_otop_using_subcommand diff" -s o -l output -d 'File for the differential flame graph (.svg), or its stacks with both counts (.folded)' -r -F
complete -c otop -n "__fish_otop_using_subcommand diff" -l against-rest -d 'Compare it with all the others together'
complete -c otop -n "__fish_otop_using_subcommand diff" -l force -d 'Replace FILE if it is there'
complete -c otop -n "__fish_otop_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_using_subcommand demo" -l refresh-rate -d 'Pictures a second of the live table, 0.5 to 10' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l sort -d 'Column to sort by; in the live table key s goes on' -r -f -a "mem_mb\t''
cpu_pct\t''
duration_s\t''
agent_name\t''
session_id\t''
tenant\t''
peak_mb\t''
status\t''
loop_pct\t''
blocked_ms\t''
worst_block_ms\t''
tasks\t''
where\t''"
complete -c otop -n "__fish_otop_using_subcommand demo" -l status -d 'Show only sessions in this state; in the live table key f goes on' -r -f -a "all\t''
active\t''
slow\t''
draining\t''
errored\t''"
complete -c otop -n "__fish_otop_using_subcommand demo" -l agent -d 'Show only sessions of this agent' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l tenant -d 'Show only sessions of this tenant' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l columns -d 'Columns to show, in this order, with commas between them: session, agent, tenant, dur, mem, peak, cpu, status, pin, loop, blocked, worst, tasks, where' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l window -d 'Stretch of time that a percentage is about, 100ms to 10m' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l slow-window -d 'How long a session stays slow after it has blocked the loop, 100ms to 1h [default: 5s]' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l rate -d 'Samples a second of session and step, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l stack-rate -d 'Full stacks a second, 1 to 10000' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l own -d 'Files that begin with this are own code, wherever they are installed; may be given more than once' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l slow-threshold -d 'From which length on a standing loop counts as blocked, 1ms to 1m [default: 50ms]' -r
complete -c otop -n "__fish_otop_using_subcommand demo" -l once -d 'Watch for one window, print the table, exit'
complete -c otop -n "__fish_otop_using_subcommand demo" -l json -d 'One JSON document per window, a line each; with --once a single one'
complete -c otop -n "__fish_otop_using_subcommand demo" -l no-bpf -d 'Load no BPF program: full stacks are read from the CPU of the worker\'s thread'
complete -c otop -n "__fish_otop_using_subcommand demo" -l pause -d 'Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown'
complete -c otop -n "__fish_otop_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c otop -n "__fish_otop_using_subcommand doctor" -l pid -d 'Process to examine [default: this machine, and how many workers are on it]' -r
complete -c otop -n "__fish_otop_using_subcommand doctor" -l json -d 'One JSON document, on one line'
complete -c otop -n "__fish_otop_using_subcommand doctor" -s h -l help -d 'Print help'
