// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Glibc
internal import Linux
public import Sandbox

/// A layer, an action, and the error that the layer alone causes.
public struct LayerDenial: Sendable {
  /// The layer. All other layers are off.
  public let layer: Layer
  /// The action. It succeeds without the layer.
  public let action: LayerAction
  /// The process's exit status: the error number, or 128 plus the signal that the shell reports.
  public let status: Int32
  /// The first ABI of Landlock that denies the action, or 0.
  public let abi: Int32

  /// Creates a denial.
  public init(_ layer: Layer, _ action: LayerAction, _ status: Int32, abi: Int32 = 0) {
    (self.layer, self.action, self.status, self.abi) = (layer, action, status, abi)
  }

  /// Every denial that the tests show. no_new_privs is not among them: it needs a set-user-ID program.
  public static let all: [LayerDenial] = [
    LayerDenial(.namespaces, .file, ENOENT),
    LayerDenial(.namespaces, .udp, ENETUNREACH),
    LayerDenial(.namespaces, .segment, ENOENT),
    LayerDenial(.capabilities, .root, EPERM),
    LayerDenial(.landlock, .file, EACCES, abi: 1),
    LayerDenial(.landlock, .tcp, EACCES, abi: 4),
    LayerDenial(.landlock, .abstract, EPERM, abi: 6),
    LayerDenial(.landlock, .signal, EPERM, abi: 6),
    LayerDenial(.landlock, .udp, EACCES, abi: 10),
    LayerDenial(.seccomp, .file, 128 + SIGSYS),
  ]

  /// The kernel's ABI of Landlock, or a negative number if it has none.
  public static var landlockABI: Int32 { cl_landlock_abi() }

  /// The exit status of a process that could not enter the layer.
  public static let notEntered: Int32 = 200

  /// Enters a layer alone, or none, and performs an action. The process must have a single thread.
  ///
  /// - Parameters:
  ///   - layer: The name of the layer, or `none`.
  ///   - action: The name of the action.
  /// - Returns: The exit status for the process: 0 if the action succeeds, else its error number.
  public static func perform(_ layer: String, _ action: String) -> Int32 {
    guard let action = LayerAction(rawValue: action) else { return notEntered }
    let perform = action.prepare()
    guard layer != "none" else { return perform() }
    guard let layer = Layer(rawValue: layer) else { return notEntered }
    do {
      if layer == .seccomp {
        try ThreadSandbox(.vcpu, rules: Rule.core).enter()
      } else {
        // Landlock needs no_new_privs, which denies none of the actions.
        var choice = LayerChoice(leftOut: Set(Layer.optional), required: [layer])
        choice.leftOut.subtract(layer == .landlock ? [layer, .noNewPrivileges] : [layer])
        _ = try ProcessSandbox.enter(choice)
      }
    } catch { return notEntered }
    return perform()
  }
}
