// SPDX-License-Identifier: Apache-2.0

import Linux
import ArgumentParser
import Foundation
import LayerActions
import Sandbox

/// Cases for the layers of confinement, each with all other layers off.
enum LayerCases {
  static let all: [Case] = [
    Case("layers", "each layer alone denies actions that succeed without it") { context in
      try denials(context)
    }
  ]

  /// The ABI of Landlock in the kernels of L1 (Linux include/uapi/linux/landlock.h).
  private static let knownABIs: [(kernel: KernelVersion, abi: Int32)] = [
    (KernelVersion(6, 1), 2), (KernelVersion(6, 12), 6), (KernelVersion(7, 3), 11),
  ]

  private static func denials(_ context: CaseContext) throws -> String {
    let abi = LayerDenial.landlockABI
    let release = try ProcFile.text("/proc/sys/kernel/osrelease")
    if let known = knownABIs.first(where: { $0.kernel == KernelVersion(release: release) }) {
      try context.require(abi == known.abi, "Landlock has ABI \(abi), expected \(known.abi)")
    }
    let denials = LayerDenial.all.filter { $0.abi <= abi }
    for denial in denials {
      let action = denial.action.rawValue
      let denied = try status(denial.layer.rawValue, action)
      try context.require(
        denied == denial.status,
        "\(action) in the layer \(denial.layer.rawValue): status \(denied), expected \(denial.status)")
      let free = try status("none", action)
      try context.require(free == 0, "\(action) without a layer: status \(free), expected 0")
    }
    return "\(denials.count) denials; Landlock has ABI \(abi)"
  }

  private static func status(_ layer: String, _ action: String) throws -> Int32 {
    try Command.result(["/proc/\(getpid())/exe", "layer-action", layer, action]).status
  }
}

/// `layer-action LAYER ACTION`: performs an action in a layer, for the case `layers`.
struct LayerActionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "layer-action", shouldDisplay: false)

  @Argument var layer: String
  @Argument var action: String

  func run() throws { throw ExitCode(LayerDenial.perform(layer, action)) }
}
