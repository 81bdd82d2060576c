#pragma once

#include <type_traits>
#include <utility>

namespace fathom {

template <class Signature>
class FunctionRef;

// A borrowed callable: two words, no allocation. The callable must outlive the FunctionRef, so use
// it for parameters only.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  // Lambdas are passed as they are; the constraint leaves copies to the copy constructor.
  // NOLINTBEGIN(google-explicit-constructor, bugprone-forwarding-reference-overload)
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>) FunctionRef(F&& callable)
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  // NOLINTEND(google-explicit-constructor, bugprone-forwarding-reference-overload)

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace fathom
