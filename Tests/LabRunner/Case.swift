// SPDX-License-Identifier: Apache-2.0

/// One case of the lab.
struct Case: Sendable {
  let name: String
  /// What it shows, for `list`.
  let purpose: String
  /// Seconds that it may take.
  let limit: Int
  /// Returns a remark for the report; throws `Failed` or `Skipped`.
  let body: @Sendable (Bench) throws -> String

  init(
    _ name: String, _ purpose: String, limit: Int = 60, body: @escaping @Sendable (Bench) throws -> String
  ) {
    (self.name, self.purpose, self.limit, self.body) = (name, purpose, limit, body)
  }

  static let all: [Case] =
    LinuxCases.all + LifeCycleCases.all + SmallGuestCases.all + ToolCases.all
    + BadInputCases.all + TerminalCases.all + SeccompCases.all

  /// What also runs where L1 itself has a 6.1 kernel: its VFIO and KVM differ.
  static var onOldHost: [Case] {
    let names = ["nvme-6.12-cloud", "nvme-6.1-cloud", "nvme-reset", "memory-enable-trace", "msix"]
    return all.filter { names.contains($0.name) }
  }
}

/// A case found something wrong.
struct Failed: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// A case cannot run here.
struct Skipped: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
