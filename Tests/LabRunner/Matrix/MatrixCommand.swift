// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `matrix`
struct MatrixCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "matrix",
    abstract: "Run the same cases in L1s with different kernels.",
    discussion: """
      Without --row and --l1, the rows are \(Self.rows.map(MatrixRow.name).joined(separator: ", ")).

      With one row, the exit status is for 'git bisect run': 0 if the cases pass, 1 if a case fails, 125 if L1 does not \
      start or cannot run any of the cases.
      """)

  /// The kernels and the interfaces to the IOMMU.
  static let rows = [
    L1Kernel(.oldFull), L1Kernel(.newFull), L1Kernel(.newFull, iommufd: true), L1Kernel(.latestFull),
    L1Kernel(.latestFull, iommufd: true),
  ]

  /// The kernels with a fault, in which at least one case must fail.
  static let mutants = ModuleMutant.allCases.map { mutant in
    var kernel = L1Kernel(.latestFull, iommufd: true)
    kernel.mutant = mutant
    return kernel
  }

  /// The cases: at most 20, and for a row at most ``MatrixRow/limit`` seconds.
  static let defaultCases = [
    "nvme-6.12-cloud", "e1000e-6.12", "hello", "bar-lazy-open", "memory-enable-ivshmem", "msix", "edu-dma",
    "intx",
    "msi", "reset", "config", "bars", "peer-dma", "memory-bit", "few-locked", "outside-memory-vfio",
    "outside-unbind", "iommufd-devices", "kernel-revoke", "torture",
  ]

  @Argument(help: "The names of cases, as 'list' prints them.") var names: [String] = Self.defaultCases
  @Option(name: .customLong("row"), help: "A row. Repeat the option for several rows.") var chosen: [String] =
    []
  @Option(help: "The kernel of the only row: a name, or the path of a build tree, a bzImage or a package.")
  var l1: String?
  @Flag(help: "Give the L1 of --l1 iommufd and the VFIO device files.") var iommufd = false
  @Flag(help: "Add the rows of kernels with a fault.") var mutants = false
  @Option(help: "The file for the results in KTAP.") var ktap = ".build/lab/matrix.ktap"

  private var kernels: [L1Kernel] {
    get throws {
      if let l1 {
        guard chosen.isEmpty else { throw ValidationError("--l1, --row: exclude each other; leave one out") }
        do {
          var kernel = try L1Kernel(argument: l1)
          kernel.iommufd = iommufd
          return [kernel]
        } catch { throw ValidationError("--l1 \(l1): \(sentence(error))") }
      }
      let all = Self.rows + Self.mutants
      guard !chosen.isEmpty else { return mutants ? all : Self.rows }
      return try chosen.map { name in
        guard let kernel = all.first(where: { MatrixRow.name(of: $0) == name }) else {
          throw ValidationError(
            "--row: '\(name)' is no row; use one of \(all.map(MatrixRow.name).joined(separator: ", "))")
        }
        return kernel
      }
    }
  }

  func validate() throws {
    _ = try kernels
    _ = try cases(named: names)
  }

  func run() throws {
    let cases = try cases(named: names)
    let kernels = try kernels
    var lab = try Lab()
    var rows: [MatrixRow] = []
    for kernel in kernels {
      let start = ContinuousClock.now
      lab.report = Report()
      try lab.run(cases, l1: kernel, prefix: "\(MatrixRow.name(of: kernel))/")
      var row = MatrixRow(kernel)
      row.take(lab.report, seconds: Int((ContinuousClock.now - start).components.seconds))
      rows.append(row)
      if row.seconds > MatrixRow.limit {
        printLine("lab: row \(row.name): \(row.seconds) s, expected at most \(MatrixRow.limit) s")
      }
    }
    let table = MatrixTable(cases: names, rows: rows)
    try Data(table.ktap.utf8).write(to: URL(filePath: ktap))
    printLine("\n" + table.text)
    printLine("lab: KTAP is in \(ktap)")
    if rows.count == 1 { throw ExitCode(rows[0].bisectStatus) }
    throw ExitCode(rows.allSatisfy(\.isExpected) ? 0 : 1)
  }
}
