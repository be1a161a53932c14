// SPDX-License-Identifier: Apache-2.0

/// The figures of `bench` as an article of the documentation, in Markdown.
struct BenchPage {
  let table: BenchTable
  /// The kernel of L1, and the version of QEMU.
  let conditions: String
  /// The date in ISO 8601.
  let date: String
  /// The number of rounds.
  let pairs: Int
  /// The processor of this machine, as `/proc/cpuinfo` names it, and the number of CPUs.
  let processor: String

  /// The whole article.
  var text: String {
    """
    # Measurements

    The figures of one run of `Tests/lab bench`, which writes this article (`--markdown FILE`).

    ## Overview

    Sluice and its peers run in turns, in one L1. A value is the median of the rounds, with the minimum and the
    maximum in parentheses. A ratio is Sluice's value divided by the peer's value of the same round; the table has the
    median of these ratios. Counts take two rounds. L1 is an emulated machine, so that a ratio says more than a
    value. Ticks are ticks of the guest's time stamp counter.

    - Date: \(date)
    - Machine: \(processor)
    - L1: \(conditions)
    - Rounds: \(pairs)
    - Aims: \(table.met) met, \(table.missed) missed

    | \(BenchTable.heading.cells.joined(separator: " | ")) |
    | --- | --- | --- | --- | --- | --- |

    """ + table.rows.map { "| \($0.cells.joined(separator: " | ")) |\n" }.joined()
  }
}
