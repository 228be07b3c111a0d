#compdef otop

autoload -U is-at-least

_otop() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'*--pid=[Process to watch; the table takes several \[default\: the only asyncio worker here, or a choice\]]:PID:_default' \
'*--session-from=[Where the session'\''s id stands; several\: the first that fits wins \[default\: as the packages in use keep it\]]:SPEC:_default' \
'*--agent-from=[Where the agent'\''s name stands]:SPEC:_default' \
'*--tenant-from=[Where the tenant'\''s name stands]:SPEC:_default' \
'(--pid --session-from --agent-from --tenant-from --rate --stack-rate --no-bpf --own --slow-threshold --slow-window --pause)--socket=[Show what the worker itself serves at its OpenRTC introspection socket]:PATH:_files' \
'--refresh-rate=[Pictures a second of the live table, 0.5 to 10]:HZ:_default' \
'--sort=[Column to sort by; in the live table key s goes on]:KEY:(mem_mb cpu_pct duration_s agent_name session_id tenant peak_mb status loop_pct blocked_ms worst_block_ms tasks where)' \
'--status=[Show only sessions in this state; in the live table key f goes on]:STATUS:(all active slow draining errored)' \
'--agent=[Show only sessions of this agent]:NAME:_default' \
'--tenant=[Show only sessions of this tenant]:NAME:_default' \
'--columns=[Columns to show, in this order, with commas between them\: session, agent, tenant, dur, mem, peak, cpu, status, pin, loop, blocked, worst, tasks, where]:LIST:_default' \
'--window=[Stretch of time that a percentage is about, 100ms to 10m]:TIME:_default' \
'--slow-window=[How long a session stays slow after it has blocked the loop, 100ms to 1h \[default\: 5s\]]:TIME:_default' \
'--rate=[Samples a second of session and step, 1 to 10000]:HZ:_default' \
'--stack-rate=[Full stacks a second, 1 to 10000]:HZ:_default' \
'*--own=[Files that begin with this are own code, wherever they are installed; may be given more than once]:PREFIX:_default' \
'--slow-threshold=[From which length on a standing loop counts as blocked, 1ms to 1m \[default\: 50ms\]]:TIME:_default' \
'(--socket)--children[The whole pool\: every asyncio worker below the process, as they come and go]' \
'--once[Watch for one window, print the table, exit]' \
'--json[One JSON document per window, a line each; with --once a single one]' \
'--no-bpf[Load no BPF program\: full stacks are read from the CPU of the worker'\''s thread]' \
'--pause[Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_otop_commands" \
"*::: :->otop" \
&& ret=0
    case $state in
    (otop)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:otop-command-$line[1]:"
        case $line[1] in
            (blocks)
_arguments "${_arguments_options[@]}" : \
'*--pid=[Process to watch; the table takes several \[default\: the only asyncio worker here, or a choice\]]:PID:_default' \
'*--session-from=[Where the session'\''s id stands; several\: the first that fits wins \[default\: as the packages in use keep it\]]:SPEC:_default' \
'*--agent-from=[Where the agent'\''s name stands]:SPEC:_default' \
'*--tenant-from=[Where the tenant'\''s name stands]:SPEC:_default' \
'--for=[End after this time, 100ms to 168h \[default\: with q, Ctrl-C or the worker\]]:TIME:_default' \
'--fail-on=[End with exit status 7 if there was a block of this length, 1ms to 1h]:TIME:_default' \
'--rate=[Samples a second of session and step, 1 to 10000]:HZ:_default' \
'--stack-rate=[Full stacks a second, 1 to 10000]:HZ:_default' \
'*--own=[Files that begin with this are own code, wherever they are installed; may be given more than once]:PREFIX:_default' \
'--slow-threshold=[From which length on a standing loop counts as blocked, 1ms to 1m \[default\: 50ms\]]:TIME:_default' \
'--json[One JSON object per event, a line each]' \
'--no-bpf[Load no BPF program\: full stacks are read from the CPU of the worker'\''s thread]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(dump)
_arguments "${_arguments_options[@]}" : \
'*--pid=[Process to watch; the table takes several \[default\: the only asyncio worker here, or a choice\]]:PID:_default' \
'*--session-from=[Where the session'\''s id stands; several\: the first that fits wins \[default\: as the packages in use keep it\]]:SPEC:_default' \
'*--agent-from=[Where the agent'\''s name stands]:SPEC:_default' \
'*--tenant-from=[Where the tenant'\''s name stands]:SPEC:_default' \
'--session=[Only the session with this id]:ID:_default' \
'--agent=[Only sessions of this agent]:NAME:_default' \
'--tenant=[Only sessions of this tenant]:NAME:_default' \
'*--own=[Files that begin with this are own code, wherever they are installed; may be given more than once]:PREFIX:_default' \
'--json[One JSON document]' \
'--pause[Stop the worker while it is read, so that all of it is of one instant; how long is said]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(vars)
_arguments "${_arguments_options[@]}" : \
'--pid=[Process to look at \[default\: the only asyncio worker here, or a choice\]]:PID:_default' \
'--values[Show some of the values too; what may be a credential never is]' \
'--json[As one JSON document]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(record)
_arguments "${_arguments_options[@]}" : \
'*--pid=[Process to watch; the table takes several \[default\: the only asyncio worker here, or a choice\]]:PID:_default' \
'*--session-from=[Where the session'\''s id stands; several\: the first that fits wins \[default\: as the packages in use keep it\]]:SPEC:_default' \
'*--agent-from=[Where the agent'\''s name stands]:SPEC:_default' \
'*--tenant-from=[Where the tenant'\''s name stands]:SPEC:_default' \
'-o+[File to write; - is standard output]:FILE:_files' \
'--output=[File to write; - is standard output]:FILE:_files' \
'--format=[What to write \[default\: what the ending of FILE says\]]:FORMAT:((flamegraph\:"Interactive flame graph, an SVG for any browser"
folded\:"Folded stacks, a line each"
speedscope\:"For <https\://www.speedscope.app>"
firefox\:"For <https\://profiler.firefox.com>"
pprof\:"For pprof\: gzipped protobuf"
otop\:"otop'\''s own recording, which holds everything"))' \
'--for=[Record for this time, 100ms to 168h; Ctrl-C ends it early, and writes]:TIME:_default' \
'--mode=[What counts \[default\: wall\]]:MODE:((wall\:"Loop time\: a session asleep in a system call on the loop is there, an idle loop is not"
cpu\:"Time on a CPU"
blocked\:"Only what kept the loop for longer than --slow-threshold"))' \
'--by=[What the roots are \[default\: session\]]:WHAT:(session agent tenant none)' \
'--session=[Only this session]:ID:_default' \
'--agent=[Only sessions of this agent]:NAME:_default' \
'--tenant=[Only sessions of this tenant]:NAME:_default' \
'--rate=[Samples a second of session and step, 1 to 10000]:HZ:_default' \
'--stack-rate=[Full stacks a second, 1 to 10000]:HZ:_default' \
'*--own=[Files that begin with this are own code, wherever they are installed; may be given more than once]:PREFIX:_default' \
'--slow-threshold=[From which length on a standing loop counts as blocked, 1ms to 1m \[default\: 50ms\]]:TIME:_default' \
'--force[Replace FILE if it is there]' \
'--no-bpf[Load no BPF program\: full stacks are read from the CPU of the worker'\''s thread]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(replay)
_arguments "${_arguments_options[@]}" : \
'(-o --output)--at=[How far into the recording\: where the live table begins, the end of the window of --once, or when the dump was taken at the latest]:TIME:_default' \
'(--once --json)-o+[File to write another format into; - is standard output]:FILE:_files' \
'(--once --json)--output=[File to write another format into; - is standard output]:FILE:_files' \
'--format=[What to write \[default\: what the ending of FILE says\]]:FORMAT:((flamegraph\:"Interactive flame graph, an SVG for any browser"
folded\:"Folded stacks, a line each"
speedscope\:"For <https\://www.speedscope.app>"
firefox\:"For <https\://profiler.firefox.com>"
pprof\:"For pprof\: gzipped protobuf"
otop\:"otop'\''s own recording, which holds everything"))' \
'--mode=[What counts \[default\: wall\]]:MODE:((wall\:"Loop time\: a session asleep in a system call on the loop is there, an idle loop is not"
cpu\:"Time on a CPU"
blocked\:"Only what kept the loop for longer than --slow-threshold"))' \
'--by=[What the roots are \[default\: session\]]:WHAT:(session agent tenant none)' \
'--session=[Only this session]:ID:_default' \
'--refresh-rate=[Pictures a second of the live table, 0.5 to 10]:HZ:_default' \
'--sort=[Column to sort by; in the live table key s goes on]:KEY:(mem_mb cpu_pct duration_s agent_name session_id tenant peak_mb status loop_pct blocked_ms worst_block_ms tasks where)' \
'--status=[Show only sessions in this state; in the live table key f goes on]:STATUS:(all active slow draining errored)' \
'--agent=[Show only sessions of this agent]:NAME:_default' \
'--tenant=[Show only sessions of this tenant]:NAME:_default' \
'--columns=[Columns to show, in this order, with commas between them\: session, agent, tenant, dur, mem, peak, cpu, status, pin, loop, blocked, worst, tasks, where]:LIST:_default' \
'--window=[Stretch of time that a percentage is about, 100ms to 10m]:TIME:_default' \
'*--own=[Files that begin with this are own code, wherever they are installed; may be given more than once]:PREFIX:_default' \
'()--rate=[Samples a second of session and step, 1 to 10000]:HZ:_default' \
'()--stack-rate=[Full stacks a second, 1 to 10000]:HZ:_default' \
'--slow-threshold=[From which length on a standing loop counts as blocked, 1ms to 1m \[default\: as it was recorded\]]:TIME:_default' \
'--slow-window=[How long a session stays slow after it has blocked the loop, 100ms to 1h \[default\: as it was recorded\]]:TIME:_default' \
'--force[Replace FILE if it is there]' \
'--once[Watch for one window, print the table, exit]' \
'--json[One JSON document per window, a line each; with --once a single one]' \
'()--no-bpf[Load no BPF program\: full stacks are read from the CPU of the worker'\''s thread]' \
'()--pause[Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':file -- Recording that otop record has written:_files' \
'::what -- What to show of it \[default\: the table\]:((blocks\:"A line for each block"
dump\:"Where every task ran or waited"))' \
&& ret=0
;;
(diff)
_arguments "${_arguments_options[@]}" : \
'--session=[Look at this session of A; red is what it has more of]:ID:_default' \
'--against=[Session of A that it is compared with]:ID:_default' \
'--mode=[What counts]:MODE:((wall\:"Loop time\: a session asleep in a system call on the loop is there, an idle loop is not"
cpu\:"Time on a CPU"
blocked\:"Only what kept the loop for longer than --slow-threshold"))' \
'--slow-threshold=[From which length on a standing loop counts as blocked, for --mode blocked \[default\: as it was recorded\]]:TIME:_default' \
'--top=[Functions to show of the event loop, and as many of other threads]:N:_default' \
'-o+[File for the differential flame graph (.svg), or its stacks with both counts (.folded)]:FILE:_files' \
'--output=[File for the differential flame graph (.svg), or its stacks with both counts (.folded)]:FILE:_files' \
'--against-rest[Compare it with all the others together]' \
'--force[Replace FILE if it is there]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':before -- Recording to compare with:_files' \
'::after -- Recording that is compared:_files' \
&& ret=0
;;
(demo)
_arguments "${_arguments_options[@]}" : \
'--refresh-rate=[Pictures a second of the live table, 0.5 to 10]:HZ:_default' \
'--sort=[Column to sort by; in the live table key s goes on]:KEY:(mem_mb cpu_pct duration_s agent_name session_id tenant peak_mb status loop_pct blocked_ms worst_block_ms tasks where)' \
'--status=[Show only sessions in this state; in the live table key f goes on]:STATUS:(all active slow draining errored)' \
'--agent=[Show only sessions of this agent]:NAME:_default' \
'--tenant=[Show only sessions of this tenant]:NAME:_default' \
'--columns=[Columns to show, in this order, with commas between them\: session, agent, tenant, dur, mem, peak, cpu, status, pin, loop, blocked, worst, tasks, where]:LIST:_default' \
'--window=[Stretch of time that a percentage is about, 100ms to 10m]:TIME:_default' \
'--slow-window=[How long a session stays slow after it has blocked the loop, 100ms to 1h \[default\: 5s\]]:TIME:_default' \
'--rate=[Samples a second of session and step, 1 to 10000]:HZ:_default' \
'--stack-rate=[Full stacks a second, 1 to 10000]:HZ:_default' \
'*--own=[Files that begin with this are own code, wherever they are installed; may be given more than once]:PREFIX:_default' \
'--slow-threshold=[From which length on a standing loop counts as blocked, 1ms to 1m \[default\: 50ms\]]:TIME:_default' \
'--once[Watch for one window, print the table, exit]' \
'--json[One JSON document per window, a line each; with --once a single one]' \
'--no-bpf[Load no BPF program\: full stacks are read from the CPU of the worker'\''s thread]' \
'--pause[Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
'--pid=[Process to examine \[default\: this machine, and how many workers are on it\]]:PID:_default' \
'--json[One JSON document, on one line]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
        esac
    ;;
esac
}

(( $+functions[_otop_commands] )) ||
_otop_commands() {
    local commands; commands=(
'blocks:Follow the blocks of the event loop, a line each, as they happen' \
'dump:Show once where every task of every session runs or waits' \
'vars:List the contextvars in live tasks, and which would name sessions as a ready --session-from' \
'record:Record for a time into a file\: a flame graph, a profile, or everything' \
'replay:Show a recording as if it were live\: the table, blocks, dumps, and every other format' \
'diff:Compare two recordings, or two sessions of one, function by function' \
'demo:Start the bundled sample worker and watch it; without a terminal, print one snapshot' \
'doctor:Say everything that decides whether attaching works, and what mends it' \
    )
    _describe -t commands 'otop commands' commands "$@"
}
(( $+functions[_otop__subcmd__blocks_commands] )) ||
_otop__subcmd__blocks_commands() {
    local commands; commands=()
    _describe -t commands 'otop blocks commands' commands "$@"
}
(( $+functions[_otop__subcmd__demo_commands] )) ||
_otop__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'otop demo commands' commands "$@"
}
(( $+functions[_otop__subcmd__diff_commands] )) ||
_otop__subcmd__diff_commands() {
    local commands; commands=()
    _describe -t commands 'otop diff commands' commands "$@"
}
(( $+functions[_otop__subcmd__doctor_commands] )) ||
_otop__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'otop doctor commands' commands "$@"
}
(( $+functions[_otop__subcmd__dump_commands] )) ||
_otop__subcmd__dump_commands() {
    local commands; commands=()
    _describe -t commands 'otop dump commands' commands "$@"
}
(( $+functions[_otop__subcmd__record_commands] )) ||
_otop__subcmd__record_commands() {
    local commands; commands=()
    _describe -t commands 'otop record commands' commands "$@"
}
(( $+functions[_otop__subcmd__replay_commands] )) ||
_otop__subcmd__replay_commands() {
    local commands; commands=()
    _describe -t commands 'otop replay commands' commands "$@"
}
(( $+functions[_otop__subcmd__vars_commands] )) ||
_otop__subcmd__vars_commands() {
    local commands; commands=()
    _describe -t commands 'otop vars commands' commands "$@"
}

if [ "$funcstack[1]" = "_otop" ]; then
    _otop "$@"
else
    compdef _otop otop
fi
