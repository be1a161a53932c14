// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Sandbox

/// `--sandbox`: `on`, `off`, or layers after commas: `no-landlock` leaves a layer out, `landlock` requires it.
struct SandboxArgument: Equatable {
  private(set) var layers = LayerChoice()

  /// Creates the value from the argument.
  init(_ argument: String) throws {
    switch argument {
    case "on": return
    case "off": layers = .none
    default:
      for part in argument.split(separator: ",", omittingEmptySubsequences: false) { try parse(part) }
      if let layer = layers.lacksNewPrivileges {
        throw ValidationError(
          "\(layer.rawValue) needs no_new_privs; give no-\(layer.rawValue) too, or leave no-no_new_privs out")
      }
    }
  }

  private mutating func parse(_ part: Substring) throws {
    let isLeftOut = part.hasPrefix("no-")
    let name = isLeftOut ? part.dropFirst(3) : part
    guard let layer = Layer.optional.first(where: { $0.rawValue == name }) else {
      throw ValidationError(
        "'\(part)' is not a layer; give on, off, or layers of "
          + Layer.optional.map(\.rawValue).joined(separator: ", ") + ", each with no- to leave it out")
    }
    guard !layers.leftOut.contains(layer), !layers.required.contains(layer) else {
      throw ValidationError("\(name): named twice; name each layer once")
    }
    if isLeftOut { layers.leftOut.insert(layer) } else { layers.required.insert(layer) }
  }

  /// Creates the default: every layer that the kernel has.
  init() {}
}
