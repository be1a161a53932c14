// SPDX-License-Identifier: Apache-2.0

/// The drive behind a port of the guest `torture`, and the operations of the control socket that the guest requests.
struct TorturedPort {
  /// The guest's requests, by their numbers in the guest.
  enum Operation: Int {
    case nonFatalError = 3
    case fatalError, removal, addition, replacement
  }

  private let context: CaseContext
  private let client: [String]
  /// The address of the drive that is in the port, or that left it last.
  private(set) var device = Address.bigDrive
  /// The last removal or replacement. It ends after the guest has released the drive.
  private var pending: Child?

  init(_ context: CaseContext, _ control: String) {
    self.context = context
    client = [context.manifest.sluice, "ctl", control]
  }

  /// Performs an operation. Returns before the end of a removal and of a replacement.
  mutating func perform(_ operation: Operation) throws {
    try finish()
    switch operation {
    case .nonFatalError: try Command.output(client + ["inject", device, "--severity", "non-fatal"])
    case .fatalError: try Command.output(client + ["inject", device, "--severity", "fatal"])
    case .addition: try Command.output(client + ["add", device])
    case .removal: pending = try context.start(client + ["remove", device], as: "remove")
    case .replacement:
      let old = device
      device = old == Address.bigDrive ? Address.smallDrive : Address.bigDrive
      pending = try context.start(client + ["replace", old, device], as: "replace")
    }
  }

  /// Waits for the end of the last removal or replacement.
  mutating func finish() throws {
    guard let child = pending else { return }
    pending = nil
    let status = try child.wait(within: 30)
    try context.require(status == 0, "\(child.arguments): status \(status); \(child.lastMessage)")
  }
}
