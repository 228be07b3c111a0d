"""Figures against their bars: collected, summed up and printed. Knows nothing of where they come from."""
import statistics


class Figure:
    """One figure of one run: an error that has a tolerance, or right and wrong out of so many."""

    def __init__(self, what, where, bar):
        self.what, self.where, self.bar = what, where, bar
        self.errors, self.noisy, self.details = [], [], []
        self.right = self.wrong = 0


class Figures:
    """All of a run, by what they are about."""

    def __init__(self):
        self.all = {}
        self.notes = []

    def of(self, what, where, bar):
        return self.all.setdefault((what, where), Figure(what, where, bar))

    def count(self, what, where, bar, right, detail):
        """What has no tolerance: it is right or it is wrong, on every machine."""
        figure = self.of(what, where, bar)
        figure.right += bool(right)
        figure.wrong += not right
        if not right:
            figure.details.append(detail)

    def error(self, what, where, bar, error, within, quiet, each=None, detail=""):
        """What has a tolerance, in one unit with it. Of nine and more the median is to be `within`, each run within
        `each`. What was not measured on a quiet machine is not judged."""
        figure = self.of(what, where, bar)
        each = within if each is None else each
        (figure.errors if quiet else figure.noisy).append((error, within, each))
        if abs(error) > each:
            figure.details.append((detail or "%+.4g where %.4g is allowed" % (error, each)) + ("" if quiet else " (not quiet)"))

    def note(self, text):
        self.notes.append(text)

    def verdict(self, figure):
        if figure.wrong:
            return "WRONG"
        if figure.noisy and not figure.errors:
            return "not judged"
        out = any(abs(error) > each for error, _, each in figure.errors)
        median = len(figure.errors) >= 9 and abs(statistics.median(e / w for e, w, _ in figure.errors)) > 1.0
        return "OUT" if out or median else "ok"

    def table(self):
        lines, last = [], None
        for what, where in sorted(self.all, key=lambda key: (key[0], str(key[1]))):
            figure = self.all[what, where]
            if what != last:
                lines.append("\n%s (%s)" % (what, figure.bar))
                last = what
            lines.append("  %-18s %-10s %s" % (where, self.verdict(figure), summary(figure)))
            lines.extend("      %s" % detail for detail in figure.details[:6])
        return "\n".join(lines + [""] + self.notes)

    def failed(self):
        return [figure for figure in self.all.values() if self.verdict(figure) in ("WRONG", "OUT")]


def summary(figure):
    said = []
    if figure.right or figure.wrong:
        said.append("%d of %d right" % (figure.right, figure.right + figure.wrong))
    for errors, how in ((figure.errors, "quiet"), (figure.noisy, "not quiet")):
        if errors:
            plain = [error for error, _, _ in errors]
            said.append("%d %s: median %+.4f worst %+.4f allowed %.4f" % (
                len(errors), how, statistics.median(plain), max(plain, key=abs),
                statistics.median(within for _, within, _ in errors)))
    return "; ".join(said)
